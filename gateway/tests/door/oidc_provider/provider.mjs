// The OpenID Connect provider that others use too, on a port of the system's choice: `node provider.mjs REDIRECT_URI`. It says where it is in
// one line, lets in whoever gives a name and any password, and has verified NAME@example.com.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

// Nobody reads on after the first line.
console.info = console.error;

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'door', client_secret: 'a secret of ours', redirect_uris: [process.argv[2]] }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    pkce: { required: () => true },
    cookies: { keys: ['of a test'] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: `${id} There` }),
    }),
  });
  server.on('request', provider.callback());
  console.log(JSON.stringify({ ready: true, http: issuer }));
});
