// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string_view>

namespace callgate::auth_oidc {

/// Of the configuration; checked by the host before an instance is made.
inline constexpr std::string_view schema = R"({
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false,
  "required": ["issuers"],
  "properties": {
    "refresh": {"type": "string", "description": "how often keys are fetched, give or take a tenth, when the issuer's Cache-Control says nothing; default 1h"},
    "refresh_min": {"type": "string", "description": "shortest interval that an issuer's max-age, no-store or no-cache leads to, 1s to 720h, at most refresh; default 1m, or refresh if shorter"},
    "refresh_max": {"type": "string", "description": "longest interval that an issuer's max-age leads to, from refresh to max_stale, at most 720h; a key the issuer has withdrawn may be accepted for so long; default refresh"},
    "min_refresh_interval": {"type": "string", "description": "shortest time between two fetches for one issuer, whatever kids arrive; default 10s"},
    "max_stale": {"type": "string", "description": "keys that could not be refreshed for so long are not used any more; default 24h"},
    "fetch_timeout": {"type": "string", "description": "for one HTTP exchange, 100ms to 60s; default 5s"},
    "max_token": {"type": "integer", "minimum": 256, "maximum": 1048576, "description": "bytes; default 65536"},
    "issuers": {
      "type": "array",
      "minItems": 1,
      "maxItems": 64,
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["issuer", "audiences"],
        "oneOf": [
          {"required": ["jwks_file"]},
          {"required": ["jwks_url"]},
          {"required": ["discovery"]}
        ],
        "properties": {
          "issuer": {"type": "string", "minLength": 1, "description": "compared byte for byte with the claim iss"},
          "audiences": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}, "description": "one of them must be in aud"},
          "algorithms": {
            "type": "array",
            "minItems": 1,
            "items": {"enum": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]},
            "description": "default RS256, ES256, EdDSA"
          },
          "jwks_file": {"type": "string", "minLength": 1, "description": "key set in a file; relative paths start at the configuration file"},
          "jwks_url": {"type": "string", "minLength": 1, "description": "key set at an https URL"},
          "discovery": {"const": true, "description": "key set named by <issuer>/.well-known/openid-configuration"},
          "jwks_origins": {"type": "array", "items": {"type": "string"}, "description": "origins besides the issuer's that discovery may point to"},
          "ca_file": {"type": "string", "minLength": 1, "description": "PEM; default: the system's authorities"},
          "leeway": {"type": "string", "description": "for exp, nbf and iat, 0 to 5m; default 30s"},
          "max_age": {"type": "string", "description": "oldest iat accepted; default: no limit"},
          "required_claims": {
            "type": "object",
            "description": "claim and the value, or list of accepted values, it must have or contain",
            "additionalProperties": {
              "anyOf": [
                {"type": ["string", "boolean", "integer"]},
                {"type": "array", "minItems": 1, "items": {"type": ["string", "boolean", "integer"]}}
              ]
            }
          },
          "allow_http_loopback": {"type": "boolean", "description": "http to 127.0.0.1, ::1 and localhost, for tests"}
        }
      }
    }
  }
})";

}  // namespace callgate::auth_oidc
