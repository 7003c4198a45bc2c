-- Claims of verified tokens, kept by the whole token in two generations of a table (the cheapest cache there is in Lua).
-- A signature is checked once for each token; the time of expiry on every request.
local cjson = require "cjson.safe"
local ffi = require "ffi"
local decode = require("ngx.base64").decode_base64url

-- OpenSSL's own, which nginx is linked with (EVP_DigestVerify(3), HMAC(3)).
ffi.cdef [[
    void *BIO_new_mem_buf(const char *, int);
    void *PEM_read_bio_PUBKEY(void *, void **, void *, void *);
    void *EVP_MD_CTX_new(void);
    void EVP_MD_CTX_free(void *);
    const void *EVP_sha256(void);
    int EVP_DigestVerifyInit(void *, void **, const void *, void *, void *);
    int EVP_DigestVerify(void *, const char *, size_t, const char *, size_t);
    unsigned char *HMAC(const void *, const char *, int, const char *, size_t, unsigned char *, unsigned int *);
]]
local openssl = ffi.C

local _M = {}
local MOST = 100000
local young, old, count = {}, {}, 0
local algorithm, issuer, audience, key

function _M.trust(alg, iss, aud, verifying)
    algorithm, issuer, audience, key = alg, iss, aud, verifying
    if alg ~= "HS256" then
        key = openssl.PEM_read_bio_PUBKEY(openssl.BIO_new_mem_buf(verifying, #verifying), nil, nil, nil)
        assert(key ~= nil, "not a public key")
    end
end

-- r and s of a JWS (RFC 7518 §3.4) as the DER that OpenSSL reads.
local function der(raw)
    local function integer(bytes)
        bytes = bytes:gsub("^%z+", "")
        if bytes:byte(1) >= 128 then bytes = "\0" .. bytes end
        return "\2" .. string.char(#bytes) .. bytes
    end
    local both = integer(raw:sub(1, 32)) .. integer(raw:sub(33))
    return "\48" .. string.char(#both) .. both
end

local function signed(message, signature)
    if not signature then return false end
    if algorithm == "HS256" then
        local mac = ffi.new("unsigned char[32]")
        openssl.HMAC(openssl.EVP_sha256(), key, #key, message, #message, mac, nil)
        return ffi.string(mac, 32) == signature
    end
    if algorithm == "ES256" then
        if #signature ~= 64 then return false end
        signature = der(signature)
    end
    local context = openssl.EVP_MD_CTX_new()
    local digest = algorithm ~= "EdDSA" and openssl.EVP_sha256() or nil
    local good = openssl.EVP_DigestVerifyInit(context, nil, digest, nil, key) == 1
        and openssl.EVP_DigestVerify(context, signature, #signature, message, #message) == 1
    openssl.EVP_MD_CTX_free(context)
    return good
end

local function verify(token)
    local head, body, signature = token:match("^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
    if not head then return nil end
    local header = cjson.decode(decode(head) or "")
    -- The algorithm is ours to say, never the token's.
    if not header or header.alg ~= algorithm or not signed(head .. "." .. body, decode(signature)) then return nil end
    local claims = cjson.decode(decode(body) or "")
    if not claims or claims.iss ~= issuer or claims.aud ~= audience or not claims.sub then return nil end
    return claims
end

function _M.of(header)
    local found = header and (young[header] or old[header])
    if not found then
        if not header or header:sub(1, 7):lower() ~= "bearer " then return nil end
        found = verify(header:sub(8))
        if not found then return nil end
        if count >= MOST then
            young, old, count = {}, young, 0
        end
        young[header], count = found, count + 1
    end
    return found.exp > ngx.time() and found or nil
end

return _M
