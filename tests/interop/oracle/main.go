// SPDX-License-Identifier: Apache-2.0

// The official Go libraries' side of the interop test: answers each line of stdin, a JSON object, with a line
// on stdout. ../README.md lists the language.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

type item struct {
	Token string `json:"token"`
	Kind  string `json:"kind"`
	Seed  string `json:"seed"`
}

type question struct {
	Do        string          `json:"do"`
	Seed      json.RawMessage `json:"seed"`
	Count     int             `json:"count"`
	Items     []item          `json:"items"`
	Public    string          `json:"public"`
	Message   string          `json:"message"`
	Signature string          `json:"signature"`
	Sealed    string          `json:"sealed"`
	Token     string          `json:"token"`
	Creds     string          `json:"creds"`
}

type reply map[string]any

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func decodeBytes(text string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(text)
	check(err)
	return b
}

func pairOf(seed string) nkeys.KeyPair {
	kp, err := nkeys.FromSeed([]byte(seed))
	check(err)
	return kp
}

func (q *question) seedText() string {
	var s string
	check(json.Unmarshal(q.Seed, &s))
	return s
}

func decode(token, kind string) (jwt.Claims, error) {
	if kind == "generic" {
		return jwt.DecodeGeneric(token)
	}
	return jwt.Decode(token)
}

func describe(c jwt.Claims) reply {
	// Before Validate, which changes some claims.
	text, err := json.Marshal(c)
	check(err)
	kind := string(c.ClaimType())
	if _, generic := c.(*jwt.GenericClaims); generic {
		kind = "generic"
	}
	vr := jwt.CreateValidationResults()
	c.Validate(vr)
	issues := []string{}
	for _, i := range vr.Issues {
		issues = append(issues, i.Description)
	}
	r := reply{"ok": true, "kind": kind, "claims": string(text), "blocking": vr.IsBlocking(false), "blocking_with_time": vr.IsBlocking(true), "issues": issues}
	if a, is := c.(*jwt.ActivationClaims); is {
		id, err := a.HashID()
		if err != nil {
			id = ""
		}
		r["hash_id"] = id
	}
	return r
}

func generate(seed int64, count int) reply {
	g := &generator{rand.New(rand.NewSource(seed))}
	items := []reply{}
	for i := 0; i < count; i++ {
		claims, signer := g.next(i)
		token, err := claims.Encode(signer)
		check(err)
		kind := ""
		if _, generic := claims.(*jwt.GenericClaims); generic {
			kind = "generic"
		}
		back, err := decode(token, kind)
		check(err)
		r := describe(back)
		s, err := signer.Seed()
		check(err)
		r["token"], r["seed"] = token, string(s)
		items = append(items, r)
	}
	return reply{"items": items}
}

func decodeAll(items []item) reply {
	results := []reply{}
	for _, i := range items {
		c, err := decode(i.Token, i.Kind)
		if err != nil {
			results = append(results, reply{"ok": false, "error": err.Error()})
			continue
		}
		results = append(results, describe(c))
	}
	return reply{"results": results}
}

func makeKeys() reply {
	keys := []reply{}
	for _, p := range []nkeys.PrefixByte{nkeys.PrefixByteOperator, nkeys.PrefixByteAccount, nkeys.PrefixByteUser, nkeys.PrefixByteServer, nkeys.PrefixByteCluster, nkeys.PrefixByteCurve} {
		kp := newPair(p)
		seed, err := kp.Seed()
		check(err)
		pub, err := kp.PublicKey()
		check(err)
		keys = append(keys, reply{"seed": string(seed), "public": pub})
	}
	return reply{"keys": keys}
}

func newPair(p nkeys.PrefixByte) nkeys.KeyPair {
	var kp nkeys.KeyPair
	var err error
	if p == nkeys.PrefixByteCurve {
		kp, err = nkeys.CreateCurveKeys()
	} else {
		kp, err = nkeys.CreatePair(p)
	}
	check(err)
	return kp
}

func answer(q *question) reply {
	switch q.Do {
	case "version":
		return reply{"proxy_required": strings.Contains(fmt.Sprintf("%+v", jwt.User{}), "ProxyRequired")}
	case "generate":
		var seed int64
		check(json.Unmarshal(q.Seed, &seed))
		return generate(seed, q.Count)
	case "decode":
		return decodeAll(q.Items)
	case "make_keys":
		return makeKeys()
	case "public":
		pub, err := pairOf(q.seedText()).PublicKey()
		check(err)
		return reply{"public": pub}
	case "sign":
		sig, err := pairOf(q.seedText()).Sign(decodeBytes(q.Message))
		check(err)
		return reply{"signature": base64.RawURLEncoding.EncodeToString(sig)}
	case "verify":
		kp, err := nkeys.FromPublicKey(q.Public)
		check(err)
		return reply{"ok": kp.Verify(decodeBytes(q.Message), decodeBytes(q.Signature)) == nil}
	case "seal":
		sealed, err := pairOf(q.seedText()).Seal(decodeBytes(q.Message), q.Public)
		check(err)
		return reply{"sealed": base64.RawURLEncoding.EncodeToString(sealed)}
	case "open":
		plain, err := pairOf(q.seedText()).Open(decodeBytes(q.Sealed), q.Public)
		if err != nil {
			return reply{"ok": false}
		}
		return reply{"ok": true, "message": base64.RawURLEncoding.EncodeToString(plain)}
	case "format_creds":
		text, err := jwt.FormatUserConfig(q.Token, []byte(q.seedText()))
		check(err)
		return reply{"creds": string(text)}
	case "parse_creds":
		token, err := jwt.ParseDecoratedJWT([]byte(q.Creds))
		check(err)
		kp, err := jwt.ParseDecoratedUserNKey([]byte(q.Creds))
		check(err)
		seed, err := kp.Seed()
		check(err)
		return reply{"token": token, "seed": string(seed)}
	}
	panic(errors.New("unknown question " + q.Do))
}

func answerLine(line []byte) (r reply) {
	defer func() {
		if e := recover(); e != nil {
			r = reply{"failed": fmt.Sprint(e)}
		}
	}()
	var q question
	check(json.Unmarshal(line, &q))
	return answer(&q)
}

func main() {
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		check(out.Encode(answerLine(line)))
	}
}
