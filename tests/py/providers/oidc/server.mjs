// An OpenID provider on loopback: discovery, PKCE, rotating refresh tokens with reuse detection,
// device flow, revocation, and its own login and consent pages. Takes its settings as JSON in
// argv[2], prints one JSON line once it listens, and ends with its standard input.
//
// GET /report counts what the token endpoint did, by grant type and outcome.
import http from 'node:http'
import { Provider } from 'oidc-provider'

const settings = { accessTokenSeconds: 600, redirectUris: {}, ...JSON.parse(process.argv[2]) }
const scope = 'openid offline_access'
const grants = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code']

const clients = [
  {
    // A program on a desktop: no secret, http on loopback, any port (RFC 8252 §7.3).
    client_id: 'desktop',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: settings.redirectUris.desktop ?? ['http://127.0.0.1/callback'],
    grant_types: grants,
    scope,
  },
  {
    // As Schwab has it: a secret, and https on loopback to the letter.
    client_id: 'trader',
    client_secret: settings.clientSecret ?? 'unused',
    application_type: 'web',
    token_endpoint_auth_method: 'client_secret_basic',
    redirect_uris: settings.redirectUris.trader ?? ['https://127.0.0.1:8182'],
    grant_types: grants,
    scope,
  },
]

const counts = {}
const count = (name) => { counts[name] = (counts[name] ?? 0) + 1 }

function configure(provider) {
  provider.on('grant.success', (ctx) => count(`${ctx.oidc.params.grant_type} granted`))
  provider.on('grant.error', (ctx, error) =>
    count(`${ctx.oidc.params?.grant_type} ${error.message}`))
  provider.on('grant.revoked', () => count('grant revoked'))
  provider.on('server_error', (ctx, error) => console.error(error))
}

const server = http.createServer()
server.listen(settings.port ?? 0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, {
    clients,
    scopes: scope.split(' '),
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
    },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: {
      AccessToken: settings.accessTokenSeconds,
      DeviceCode: 300,
      Grant: 604800,
      IdToken: 600,
      Interaction: 600,
      RefreshToken: 604800,
      Session: 600,
    },
  })
  configure(provider)
  const answer = provider.callback()
  server.on('request', (request, response) => {
    if (request.url === '/report') {
      response.setHeader('Content-Type', 'application/json')
      response.end(JSON.stringify(counts))
    } else {
      answer(request, response)
    }
  })
  console.log(JSON.stringify({ event: 'ready', issuer }))
})

process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
