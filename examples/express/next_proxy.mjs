// The same in front of every page of a Next.js application: save it as proxy.js (before Next.js 16: as middleware.js, where the
// function is called `middleware`) beside assertion.mjs. Whoever has no assertion is answered here; nothing returned: go on.

import { caller } from "./assertion.mjs";

export async function proxy(request) {
  if (!(await caller(request.headers.get("x-gateway-assertion")))) {
    return Response.json({ error: "no assertion of the door's" }, { status: 401 });
  }
}

export const config = { matcher: "/((?!_next/static|_next/image|favicon.ico).*)" };
