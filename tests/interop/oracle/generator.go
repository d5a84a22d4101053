// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"math/rand"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// Random claims of every kind, mostly valid. Keys are fresh each time, the rest repeats with the seed.
type generator struct{ *rand.Rand }

func (g *generator) oneIn(n int) bool { return g.Intn(n) == 0 }

func (g *generator) number() int64 {
	notable := []int64{-1, 1, 2, 100, 65536, math.MaxInt32, 1 << 32, 1<<53 + 1, math.MaxInt64, math.MinInt64}
	if g.oneIn(3) {
		return notable[g.Intn(len(notable))]
	}
	return g.Int63n(1000000) + 1
}

func (g *generator) text() string {
	pieces := []string{"b", "Y", "9", " ", "<", ">", "&", "\"", "\\", "/", "\n", "\t", "\r", "\b", "\f", "\x02", "\x00", "\x7f", "ß", "\u2028", "\u2029", "\U0001F512", "}}", "\xff", "\xe2\x80"}
	var b strings.Builder
	for n := g.Intn(12) + 1; n > 0; n-- {
		b.WriteString(pieces[g.Intn(len(pieces))])
	}
	return b.String()
}

func (g *generator) optional() string {
	if g.oneIn(2) {
		return ""
	}
	return g.text()
}

func (g *generator) word() string {
	var b strings.Builder
	for n := g.Intn(6) + 1; n > 0; n-- {
		b.WriteByte(byte('a' + g.Intn(26)))
	}
	return b.String()
}

func (g *generator) subject(wildcards bool) string {
	if g.oneIn(60) {
		return []string{".a", "a.", "a..b", "a b c", "a b"}[g.Intn(5)]
	}
	s := g.word()
	for n := g.Intn(4); n > 0; n-- {
		if wildcards && g.oneIn(4) {
			s += ".*"
		} else {
			s += "." + g.word()
		}
	}
	if wildcards && g.oneIn(4) {
		s += ".>"
	}
	return s
}

func (g *generator) key(p nkeys.PrefixByte) string {
	if g.oneIn(80) {
		p = nkeys.PrefixByteCluster
	}
	pub, err := newPair(p).PublicKey()
	check(err)
	return pub
}

func some[T any](g *generator, most int, f func() T) []T {
	var out []T
	for n := g.Intn(most + 1); n > 0; n-- {
		out = append(out, f())
	}
	return out
}

func (g *generator) base(c *jwt.ClaimsData) {
	c.Name = g.optional()
	if g.oneIn(3) {
		c.Audience = g.text()
	}
	if g.oneIn(3) {
		c.Expires = []int64{1, 4000000000}[g.Intn(2)]
	}
	if g.oneIn(3) {
		c.NotBefore = []int64{1, 4000000000}[g.Intn(2)]
	}
}

func (g *generator) permission(queue bool) jwt.Permission {
	one := func() string {
		s := g.subject(true)
		if queue && g.oneIn(5) {
			s += " " + g.word()
		}
		return s
	}
	return jwt.Permission{Allow: some(g, 3, one), Deny: some(g, 2, one)}
}

func (g *generator) permissions() jwt.Permissions {
	p := jwt.Permissions{Pub: g.permission(false), Sub: g.permission(true)}
	if g.oneIn(3) {
		p.Resp = &jwt.ResponsePermission{MaxMsgs: int(g.number()), Expires: time.Duration(g.number())}
	}
	return p
}

func (g *generator) limits() jwt.UserPermissionLimits {
	var l jwt.UserPermissionLimits
	l.Permissions = g.permissions()
	l.Src = some(g, 2, func() string {
		return []string{"10.0.0.0/8", "fe80::/10", "192.0.2.1/32", "2001:db8::/32", "1.2.3.4"}[g.Intn(5)]
	})
	l.Times = some(g, 2, func() jwt.TimeRange {
		if g.oneIn(20) {
			return jwt.TimeRange{Start: "24:00:00"}
		}
		return jwt.TimeRange{Start: "23:00:01", End: "05:59:00"}
	})
	if g.oneIn(4) {
		l.Locale = "UTC"
	}
	l.Subs, l.Data, l.Payload = g.number(), g.number(), g.number()
	l.BearerToken, l.ProxyRequired = g.oneIn(2), g.oneIn(4)
	l.AllowedConnectionTypes = some(g, 2, func() string {
		return []string{jwt.ConnectionTypeStandard, jwt.ConnectionTypeLeafnodeWS, jwt.ConnectionTypeMqttWS, jwt.ConnectionTypeInProcess}[g.Intn(4)]
	})
	return l
}

// In scopes the library itself reads numbers by way of float64.
func exact(n int64) int64 { return min(max(n, -(1<<53)), 1<<53) }

func (g *generator) scope() jwt.UserPermissionLimits {
	l := g.limits()
	l.Subs, l.Data, l.Payload = exact(l.Subs), exact(l.Data), exact(l.Payload)
	if l.Resp != nil {
		l.Resp.MaxMsgs, l.Resp.Expires = int(exact(int64(l.Resp.MaxMsgs))), time.Duration(exact(int64(l.Resp.Expires)))
	}
	return l
}

func (g *generator) jetstream() jwt.JetStreamLimits {
	return jwt.JetStreamLimits{MemoryStorage: g.number(), DiskStorage: g.number(), Streams: g.number(), Consumer: g.number(), MaxAckPending: g.number(),
		MemoryMaxStreamBytes: g.number(), DiskMaxStreamBytes: g.number(), MaxBytesRequired: g.oneIn(2)}
}

func (g *generator) info() jwt.Info {
	i := jwt.Info{Description: g.optional()}
	if g.oneIn(3) {
		i.InfoURL = []string{"https://example.org/x", "http://h:80?q", "example.org/x", "//h/x"}[g.Intn(4)]
	}
	return i
}

func (g *generator) export() *jwt.Export {
	e := &jwt.Export{Name: g.optional(), Subject: jwt.Subject(g.subject(true)), Type: jwt.Stream, TokenReq: g.oneIn(2), Advertise: g.oneIn(2), Info: g.info()}
	for n := g.Intn(3); n > 0; n-- {
		e.RevokeAt(g.key(nkeys.PrefixByteAccount), time.Unix(g.Int63n(2000000000), 0))
	}
	service := g.oneIn(2)
	if service {
		e.Type = jwt.Service
	}
	if service || g.oneIn(20) {
		e.ResponseType = jwt.ResponseType([]string{"", jwt.ResponseTypeSingleton, jwt.ResponseTypeStream, jwt.ResponseTypeChunked, "Other"}[g.Intn(5)])
		e.ResponseThreshold = time.Duration(g.number())
		e.AllowTrace = g.oneIn(2)
	}
	if (service && g.oneIn(2)) || g.oneIn(40) {
		e.Latency = &jwt.ServiceLatency{Sampling: jwt.SamplingRate(g.Intn(101)), Results: jwt.Subject(g.subject(g.oneIn(10)))}
	}
	if g.oneIn(5) {
		e.AccountTokenPosition = uint(g.Intn(6))
	}
	return e
}

func (g *generator) imported(self string) *jwt.Import {
	exporter := newPair(nkeys.PrefixByteAccount)
	pub, err := exporter.PublicKey()
	check(err)
	i := &jwt.Import{Name: g.optional(), Subject: jwt.Subject(g.subject(g.oneIn(2))), Account: pub, Type: jwt.Stream}
	if g.oneIn(2) {
		i.Type = jwt.Service
		i.Share = g.oneIn(2)
	} else {
		i.AllowTrace = g.oneIn(2)
	}
	if g.oneIn(4) {
		i.LocalSubject = jwt.RenamingSubject([]string{g.subject(false), "x.$1", "x.*", "$2.$1.>", "x.>"}[g.Intn(5)])
	} else if g.oneIn(8) {
		i.To = jwt.Subject(g.subject(false))
	}
	if g.oneIn(3) {
		a := jwt.NewActivationClaims(self)
		a.ImportSubject, a.ImportType = i.Subject, i.Type
		if g.oneIn(5) {
			a.ImportSubject = "other.>"
		}
		i.Token, err = a.Encode(exporter)
		check(err)
	}
	return i
}

func (g *generator) operator(sub string) jwt.Claims {
	c := jwt.NewOperatorClaims(sub)
	c.SigningKeys = some(g, 3, func() string { return g.key(nkeys.PrefixByteOperator) })
	if g.oneIn(2) {
		c.AccountServerURL = []string{"https://h/jwt/v1", "nats://h:4222", "http://u:p@h"}[g.Intn(3)]
	}
	c.OperatorServiceURLs = some(g, 2, func() string {
		return []string{"nats://h:4222", "tls://[::1]:4222", "WS://h", "wss://h", "nats://u@h", "nats://h/x", "http://h"}[g.Intn(7)]
	})
	if g.oneIn(2) {
		c.SystemAccount = g.key(nkeys.PrefixByteAccount)
	}
	c.AssertServerVersion = []string{"", "2.10.0", "2.x.0", "1.2"}[g.Intn(4)]
	c.StrictSigningKeyUsage = g.oneIn(2)
	c.Tags = some(g, 2, g.text)
	return c
}

func (g *generator) account(sub string) jwt.Claims {
	c := jwt.NewAccountClaims(sub)
	for n := g.Intn(3); n > 0; n-- {
		c.Imports.Add(g.imported(sub))
	}
	for n := g.Intn(3); n > 0; n-- {
		c.Exports.Add(g.export())
	}
	if g.oneIn(2) {
		c.Limits.Conn, c.Limits.LeafNodeConn, c.Limits.Subs, c.Limits.Data, c.Limits.Payload = g.number(), g.number(), g.number(), g.number(), g.number()
		c.Limits.Imports, c.Limits.Exports = []int64{-1, 1, 2}[g.Intn(3)], []int64{-1, 1, 2}[g.Intn(3)]
		c.Limits.WildcardExports, c.Limits.DisallowBearer = g.oneIn(2), g.oneIn(2)
	}
	if g.oneIn(2) {
		c.Limits.JetStreamLimits = g.jetstream()
	} else {
		for n := g.Intn(3); n > 0; n-- {
			c.Limits.JetStreamTieredLimits[fmt.Sprintf("R%d", n)] = g.jetstream()
		}
	}
	for n := g.Intn(3); n > 0; n-- {
		if g.oneIn(2) {
			c.SigningKeys.Add(g.key(nkeys.PrefixByteAccount))
			continue
		}
		s := jwt.NewUserScope()
		s.Key, s.Role, s.Description, s.Template = g.key(nkeys.PrefixByteAccount), g.optional(), g.optional(), g.scope()
		c.SigningKeys.AddScopedSigner(s)
	}
	for n := g.Intn(3); n > 0; n-- {
		c.RevokeAt(g.key(nkeys.PrefixByteUser), time.Unix(g.Int63n(2000000000), 0))
	}
	if g.oneIn(3) {
		c.RevokeAt(jwt.All, time.Unix(g.Int63n(2000000000), 0))
	}
	c.DefaultPermissions = g.permissions()
	for n := g.Intn(3); n > 0; n-- {
		c.Mappings[jwt.Subject(g.subject(true))] = some(g, 2, func() jwt.WeightedMapping {
			m := jwt.WeightedMapping{Subject: jwt.Subject(g.subject(false)), Weight: uint8(g.Intn(69) + 1)}
			if g.oneIn(2) {
				m.Cluster = g.word()
			}
			return m
		})
	}
	if g.oneIn(2) {
		c.Authorization.AuthUsers = some(g, 2, func() string { return g.key(nkeys.PrefixByteUser) })
		c.Authorization.AllowedAccounts = some(g, 2, func() string { return []string{"*", g.key(nkeys.PrefixByteAccount)}[g.Intn(2)] })
		if g.oneIn(2) {
			c.Authorization.XKey = g.key(nkeys.PrefixByteCurve)
		}
	}
	if g.oneIn(3) {
		c.Trace = &jwt.MsgTrace{Destination: jwt.Subject(g.subject(g.oneIn(10))), Sampling: g.Intn(103) - 1}
	}
	c.ClusterTraffic = jwt.ClusterTraffic([]string{"", "system", "owner", "none"}[g.Intn(4)])
	c.Info = g.info()
	c.Tags = some(g, 2, g.text)
	return c
}

func (g *generator) user(sub string) jwt.Claims {
	c := jwt.NewUserClaims(sub)
	if g.oneIn(4) {
		c.UserPermissionLimits = jwt.UserPermissionLimits{}
	} else {
		c.UserPermissionLimits = g.limits()
	}
	if g.oneIn(2) {
		c.IssuerAccount = g.key(nkeys.PrefixByteAccount)
	}
	c.Tags = some(g, 2, g.text)
	return c
}

func (g *generator) activation(sub string) jwt.Claims {
	c := jwt.NewActivationClaims(sub)
	c.ImportSubject, c.ImportType = jwt.Subject(g.subject(true)), []jwt.ExportType{jwt.Stream, jwt.Service}[g.Intn(2)]
	if g.oneIn(2) {
		c.IssuerAccount = g.key(nkeys.PrefixByteAccount)
	}
	c.Tags = some(g, 2, g.text)
	return c
}

func (g *generator) request(sub string) jwt.Claims {
	c := jwt.NewAuthorizationRequestClaims(sub)
	c.Server = jwt.ServerID{Name: g.text(), Host: g.optional(), ID: g.key(nkeys.PrefixByteServer), Version: g.optional(), Cluster: g.optional(), Tags: some(g, 2, g.text), XKey: g.optional()}
	c.UserNkey = g.key(nkeys.PrefixByteUser)
	c.ClientInformation = jwt.ClientInformation{Host: g.optional(), ID: g.Uint64(), User: g.optional(), Name: g.optional(), Tags: some(g, 2, g.text), NameTag: g.optional(),
		Kind: g.optional(), Type: g.optional(), MQTT: g.optional(), Nonce: g.optional()}
	c.ConnectOptions = jwt.ConnectOptions{JWT: g.optional(), Nkey: g.optional(), SignedNonce: g.optional(), Token: g.optional(), Username: g.optional(), Password: g.optional(),
		Name: g.optional(), Lang: g.optional(), Version: g.optional(), Protocol: int(g.number())}
	if g.oneIn(2) {
		c.TLS = &jwt.ClientTLS{Version: "1.3", Cipher: g.optional(), Certs: some(g, 2, g.text), VerifiedChains: some(g, 2, func() jwt.StringList { return jwt.StringList{g.text()} })}
	}
	c.RequestNonce = g.optional()
	c.Tags = some(g, 2, g.text)
	return c
}

func (g *generator) response(sub string) jwt.Claims {
	c := jwt.NewAuthorizationResponseClaims(sub)
	c.Audience = g.key(nkeys.PrefixByteServer)
	if !g.oneIn(3) {
		c.Jwt = g.text()
	}
	if g.oneIn(3) {
		c.Error = g.text()
	}
	if g.oneIn(2) {
		c.IssuerAccount = g.key(nkeys.PrefixByteAccount)
	}
	c.Tags = some(g, 2, g.text)
	return c
}

func (g *generator) generic(sub string) jwt.Claims {
	c := jwt.NewGenericClaims(sub)
	for n := g.Intn(4); n > 0; n-- {
		c.Data["k_"+g.word()] = map[string]any{"text": g.text(), "list": []any{nil, true, 1.5, 1e-7, 1e300, g.Intn(1 << 30)}, g.text(): map[string]any{}}
	}
	if g.oneIn(2) {
		c.Data["type"] = "y_" + g.word()
	}
	return c
}

func (g *generator) next(turn int) (jwt.Claims, nkeys.KeyPair) {
	pick := func(p ...nkeys.PrefixByte) nkeys.KeyPair { return newPair(p[g.Intn(len(p))]) }
	fresh := func(p nkeys.PrefixByte) string {
		pub, err := newPair(p).PublicKey()
		check(err)
		return pub
	}
	var c jwt.Claims
	var signer nkeys.KeyPair
	switch turn % 7 {
	case 0:
		c, signer = g.operator(fresh(nkeys.PrefixByteOperator)), pick(nkeys.PrefixByteOperator)
	case 1:
		c, signer = g.account(fresh(nkeys.PrefixByteAccount)), pick(nkeys.PrefixByteOperator, nkeys.PrefixByteAccount)
	case 2:
		c, signer = g.user(fresh(nkeys.PrefixByteUser)), pick(nkeys.PrefixByteAccount)
	case 3:
		c, signer = g.activation(fresh(nkeys.PrefixByteAccount)), pick(nkeys.PrefixByteAccount, nkeys.PrefixByteOperator)
	case 4:
		c, signer = g.request(fresh(nkeys.PrefixByteAccount)), pick(nkeys.PrefixByteServer)
	case 5:
		c, signer = g.response(fresh(nkeys.PrefixByteUser)), pick(nkeys.PrefixByteAccount)
	default:
		c, signer = g.generic(g.text()), pick(nkeys.PrefixByteUser, nkeys.PrefixByteServer)
	}
	audience := c.Claims().Audience
	g.base(c.Claims())
	if turn%7 == 5 {
		c.Claims().Audience = audience
	}
	return c, signer
}
