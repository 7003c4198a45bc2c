// An Express service behind the door: who is calling is what X-Gateway-Assertion says, and nothing else.
//
//     DOOR=http://127.0.0.1:8080 PORT=9003 node app.mjs

import express from "express";
import { caller } from "./assertion.mjs";

const app = express();

app.use(async (request, response, next) => {
  request.caller = await caller(request.get("x-gateway-assertion"));
  if (request.caller) next();
  else response.status(401).json({ error: "no assertion of the door's" });
});

app.get("/*path", (request, response) => {
  const { sub, role, tier } = request.caller;
  response.json({ sub, role, tier });
});

app.listen(Number(process.env.PORT ?? 9003), "127.0.0.1");
