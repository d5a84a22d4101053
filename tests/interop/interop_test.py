#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our tokens, keys and boxes against the official Go libraries and the npm packages, both ways. Writes JUnit XML.
A side that cannot be started is a failure, never a skip. README.md describes the sides and their language."""
import argparse
import base64
import itertools
import json
import os
import random
import subprocess
import sys
import time
import traceback
import xml.etree.ElementTree as xml_tree

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KINDS = ["operator", "account", "user", "activation", "authorization_request", "authorization_response", "generic"]


class speaker:
    """A process that answers a line of JSON with a line of JSON."""

    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, do, **question):
        self.begin(do, question)
        return self.end(do)

    def begin(self, do, question):
        self.process.stdin.write(json.dumps(dict(question, do=do)) + "\n")
        self.process.stdin.flush()

    def end(self, do):
        line = self.process.stdout.readline()
        assert line, f"{self.name} died at {do}"
        answer = json.loads(line)
        assert "failed" not in answer, f"{self.name} cannot {do}: {answer['failed']}"
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


class crew:
    """Several processes of one side that share its long questions: a list of items, or a count of them."""

    def __init__(self, name, command, size):
        self.name = name
        self.members = [speaker(name, command) for _ in range(size)]

    def ask(self, do, **question):
        if do == "decode":
            share = -(-len(question["items"]) // len(self.members))
            parts = [dict(items=question["items"][i * share : (i + 1) * share]) for i in range(len(self.members))]
        elif do == "generate":
            counts = [len(range(i, question["count"], len(self.members))) for i in range(len(self.members))]
            parts = [dict(seed=question["seed"] + i, count=count) for i, count in enumerate(counts)]
        else:
            return self.members[0].ask(do, **question)
        for member, part in zip(self.members, parts, strict=True):
            member.begin(do, part)
        answers = [member.end(do) for member in self.members]
        # Lists are joined in the order of the members, counts added.
        return {key: list(itertools.chain(*(a[key] for a in answers))) if isinstance(value, list) else sum(a[key] for a in answers) for key, value in answers[0].items()}

    def close(self):
        for member in self.members:
            member.close()


def ordered(text):
    """JSON with the order of its members, duplicates included. Go writes an empty list in a map as null."""
    return json.loads(text, object_pairs_hook=lambda pairs: tuple(("member", k, None if v == [] else v) for k, v in pairs))


def without_empty(value):
    """What npm writes out and Go leaves out means the same: empty lists, texts and objects, zeros, false."""
    if isinstance(value, dict):
        out = {k: without_empty(v) for k, v in value.items()}
        return {k: v for k, v in out.items() if v not in ({}, [], "", 0, False, None)}
    if isinstance(value, list):
        return [without_empty(v) for v in value]
    return value


def by_npm_rules(text):
    # JavaScript's numbers are all floating point.
    claims = without_empty(json.loads(text, parse_int=float))
    keys = claims.get("nats", {}).get("signing_keys")
    if claims.get("nats", {}).get("type") == "account":
        if keys:
            claims["nats"]["signing_keys"] = sorted(keys, key=json.dumps)
        for member in ("imports", "exports"):
            if member in claims["nats"]:
                claims["nats"][member] = sorted(claims["nats"][member], key=lambda x: json.dumps(x, sort_keys=True))
    return claims


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def tampered(token, rng):
    """Named variants of a token that nobody may accept."""
    header, payload, signature = token.split(".")

    def flip(chunk):
        data = bytearray(unb64(chunk))
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return b64(bytes(data))

    yield "payload bit", f"{header}.{flip(payload)}.{signature}"
    yield "signature bit", f"{header}.{payload}.{flip(signature)}"
    yield "header bit", f"{flip(header)}.{payload}.{signature}"
    yield "header alg none", f"{b64(json.dumps({'typ': 'JWT', 'alg': 'none'}).encode())}.{payload}.{signature}"
    yield "header spelling", f"{b64(json.dumps({'alg': 'ed25519-nkey', 'typ': 'JWT'}).encode())}.{payload}.{signature}"
    yield "no signature", f"{header}.{payload}."
    yield "two chunks", f"{header}.{payload}"


class suite:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.cpp = speaker("callgate", [args.cpp])
        self.go = speaker("go", [args.go])
        self.npm = crew("npm", [args.node, os.path.join(HERE, "npm_speaker.mjs")], 2)
        self.sides = [self.cpp, self.go, self.npm]
        self.generated = {}
        self.compared = {}  # (writer, reader): how many claims were the same after decoding
        self.npm_signed = {}

    def items(self, side):
        if side.name not in self.generated:
            count = self.args.npm_count if side is self.npm else self.args.count
            answer = side.ask("generate", seed=self.args.seed, count=count)
            items = answer["items"]
            assert len(items) == count
            if side is self.npm:
                self.npm_signed = {"packaged": answer["signed_packaged"], "node": answer["signed_by_node"]}
            self.generated[side.name] = items
        return self.generated[side.name]

    def of_kind(self, side, kind):
        items = self.items(side)
        found = [i for i in items if i["kind"] == kind or (kind == "generic" and i["kind"] not in KINDS)]
        assert len(found) >= len(items) // 10 > 0, f"only {len(found)} of kind {kind}"
        return found

    def decoded(self, side, items):
        return side.ask("decode", items=[{"token": i["token"], "kind": "generic" if i["kind"] not in KINDS else i["kind"]} for i in items])["results"]

    def same_claims(self, writer, reader, kind, normal):
        items = self.of_kind(writer, kind)
        if reader is self.npm:
            items = items[: -(-self.args.npm_count // len(KINDS))]
        for item, result in zip(items, self.decoded(reader, items), strict=True):
            assert result["ok"], f"{reader.name} refuses a {kind} token of {writer.name}: {result['error']}\n{item['claims']}"
            assert normal(result["claims"]) == normal(item["claims"]), f"{kind} of {writer.name} read by {reader.name}:\n{item['claims']}\n{result['claims']}"
            if "hash_id" in item and "hash_id" in result:
                assert item["hash_id"] == result["hash_id"], f"hash id of {item['claims']}"
            self.compared[writer.name, reader.name] = self.compared.get((writer.name, reader.name), 0) + 1

    def enough(self, writer, reader, wanted):
        """The counter of compared claims, so that a kind that fell out or a list cut short is seen."""
        compared = self.compared.get((writer.name, reader.name), 0)
        print(f"interop: {compared} claims of {writer.name} read by {reader.name} and found the same")
        assert compared >= wanted, f"only {compared} of {wanted} claims of {writer.name} were compared after {reader.name} read them"

    def signed_by_npm(self):
        packaged, node = self.npm_signed["packaged"], self.npm_signed["node"]
        print(f"interop: {packaged + node} tokens of npm: {packaged} signed by @nats-io/nkeys with the bytes that node makes, {node} by node alone")
        assert packaged >= self.args.npm_count // 4 and packaged + node >= self.args.npm_count

    def same_verdict(self, writer, reader, kind):
        """Does the library find the same claims valid, with and without time checks?"""
        items = self.of_kind(writer, kind)
        valid = 0
        for item, result in zip(items, self.decoded(reader, items), strict=True):
            assert result["ok"], result
            for what in ("blocking", "blocking_with_time"):
                assert item[what] == result[what], f"{what}: {writer.name} {item['issues']}, {reader.name} {result['issues']}\n{item['claims']}"
            valid += not item["blocking"]
        assert valid >= len(items) // 10, f"only {valid} of {len(items)} random {kind} claims are valid: the comparison says little"

    def same_token(self):
        """What Go signed we can sign again to the byte: order, escaping, jti. Accounts have a jti of ours."""
        # A name that was no UTF-8 cannot be had back: Go hashed an escape that it reads as a character.
        items = [i for i in self.items(self.go) if i["kind"] not in ("account", "generic") and b"\\ufffd" not in unb64(i["token"].split(".")[1])]
        assert len(items) >= self.args.count // 10
        results = self.cpp.ask("reencode", items=[{"token": i["token"], "seed": i["seed"]} for i in items])["results"]
        for item, result in zip(items, results, strict=True):
            assert result["token"] == item["token"], f"ours differs from Go's token:\n{item['claims']}\n{unb64(result['token'].split('.')[1])}"

    def refuse_tampered(self, writer):
        items = self.items(writer)
        sample = items if len(items) <= 300 else self.rng.sample(items, 300)
        variants = [(name, dict(i, token=t)) for i in sample for name, t in tampered(i["token"], self.rng)]
        for reader in self.sides:
            if reader is self.npm:  # 40 times slower than the others
                variants, sample = variants[:140], sample[:20]
            assert all(r["ok"] for r in self.decoded(reader, sample)), f"{reader.name} refuses untouched tokens"
            for (name, _), result in zip(variants, self.decoded(reader, [v for _, v in variants]), strict=True):
                assert not result["ok"], f"{reader.name} accepts a token of {writer.name} with changed {name}: {result}"

    def same_keys(self, maker):
        for key in maker.ask("make_keys")["keys"]:
            for side in self.sides:
                assert side.ask("public", seed=key["seed"])["public"] == key["public"], f"{side.name} derives another key from a {key['public'][0]} seed of {maker.name}"

    def signatures(self, signer, verifier):
        for key in signer.ask("make_keys")["keys"]:
            if key["public"].startswith("X"):
                continue
            for size in (0, 1, 100, 5000):
                message = b64(self.rng.randbytes(size))
                signature = signer.ask("sign", seed=key["seed"], message=message)["signature"]
                assert verifier.ask("verify", public=key["public"], message=message, signature=signature)["ok"]
                data = bytearray(unb64(signature))
                data[self.rng.randrange(64)] ^= 1 << self.rng.randrange(8)
                assert not verifier.ask("verify", public=key["public"], message=message, signature=b64(bytes(data)))["ok"]

    def boxes(self, sealer, opener):
        def curve(side):
            return next(k for k in side.ask("make_keys")["keys"] if k["public"].startswith("X"))
        ours, theirs, stranger = curve(sealer), curve(opener), curve(opener)
        for size in (1, 16, 100, 5000):
            message = self.rng.randbytes(size)
            sealed = sealer.ask("seal", seed=ours["seed"], public=theirs["public"], message=b64(message))["sealed"]
            opened = opener.ask("open", seed=theirs["seed"], public=ours["public"], sealed=sealed)
            assert opened["ok"] and unb64(opened["message"]) == message, f"{opener.name} cannot open a box of {sealer.name}"
            assert not opener.ask("open", seed=stranger["seed"], public=ours["public"], sealed=sealed)["ok"]
            assert not opener.ask("open", seed=theirs["seed"], public=stranger["public"], sealed=sealed)["ok"]
            data = bytearray(unb64(sealed))
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
            assert not opener.ask("open", seed=theirs["seed"], public=ours["public"], sealed=b64(bytes(data)))["ok"]

    def creds(self, writer, reader):
        user = next(k for k in writer.ask("make_keys")["keys"] if k["public"].startswith("U"))
        # Go and we check that seed and token belong together: sign a token for a key whose seed we have.
        token = self.token_for(user["public"])
        text = writer.ask("format_creds", token=token, seed=user["seed"])["creds"]
        for variant in (text, text.replace("\n", "\r\n")):
            if reader is self.npm and variant is not text:
                continue
            parsed = reader.ask("parse_creds", creds=variant)
            assert (parsed["token"], parsed["seed"]) == (token, user["seed"])

    def token_for(self, subject):
        account = next(k for k in self.cpp.ask("make_keys")["keys"] if k["public"].startswith("A"))
        payload = {"iat": int(time.time()), "iss": account["public"], "sub": subject, "nats": {"pub": {}, "sub": {}, "type": "user", "version": 2}}
        text = b64(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode()) + "." + b64(json.dumps(payload).encode())
        return text + "." + self.cpp.ask("sign", seed=account["seed"], message=b64(text.encode()))["signature"]

    def cases(self):
        for writer, reader in ((self.cpp, self.go), (self.go, self.cpp)):
            for kind in KINDS:
                yield f"claims {writer.name} to {reader.name}: {kind}", lambda w=writer, r=reader, k=kind: self.same_claims(w, r, k, json.loads if k == "generic" else ordered)
                yield f"verdict on claims of {writer.name}: {kind}", lambda w=writer, r=reader, k=kind: self.same_verdict(w, r, k)
        yield "tokens of go signed again are identical", self.same_token
        for kind in KINDS:
            yield f"claims callgate to npm: {kind}", lambda k=kind: self.same_claims(self.cpp, self.npm, k, by_npm_rules)
            if kind != "authorization_request":
                yield f"claims npm to callgate: {kind}", lambda k=kind: self.same_claims(self.npm, self.cpp, k, by_npm_rules)
        for writer, reader in ((self.cpp, self.go), (self.go, self.cpp), (self.cpp, self.npm), (self.npm, self.cpp)):
            wanted = min(self.args.count, self.args.npm_count) if self.npm in (writer, reader) else self.args.count
            yield f"enough claims {writer.name} to {reader.name}", lambda w=writer, r=reader, n=wanted: self.enough(w, r, n)
        yield "a share of the tokens of npm is signed by its own package", self.signed_by_npm
        for writer in self.sides:
            yield f"tampered tokens of {writer.name} are refused by all", lambda w=writer: self.refuse_tampered(w)
            yield f"keys of {writer.name} are the same to all", lambda w=writer: self.same_keys(w)
        for one, other in itertools.permutations(self.sides, 2):
            if self.cpp not in (one, other):
                continue
            yield f"signatures {one.name} to {other.name}", lambda a=one, b=other: self.signatures(a, b)
            yield f"boxes {one.name} to {other.name}", lambda a=one, b=other: self.boxes(a, b)
            yield f"creds {one.name} to {other.name}", lambda a=one, b=other: self.creds(a, b)

    def run(self):
        report = xml_tree.Element("testsuite", name="interop")
        failures = count = 0
        start = time.monotonic()
        for name, test in self.cases():
            count += 1
            began = time.monotonic()
            case = xml_tree.SubElement(report, "testcase", classname="interop", name=name)
            try:
                test()
            except Exception as error:  # each case reports, whatever went wrong
                failures += 1
                message = str(error) or repr(error)
                detail = xml_tree.SubElement(case, "failure", message="".join(c if c.isprintable() else "?" for c in message[:2000]))
                detail.text = "".join(c if c.isprintable() or c == "\n" else "?" for c in traceback.format_exc()[-4000:])
                print(f"FAILED {name}: {message[:1500]}")
            if self.args.verbose:
                print(f"{time.monotonic() - began:8.3f} s {name}", flush=True)
            case.set("time", f"{time.monotonic() - began:.3f}")
        report.set("tests", str(count))
        report.set("failures", str(failures))
        report.set("time", f"{time.monotonic() - start:.3f}")
        print(f"interop: {count - failures} of {count} cases passed, {self.args.count} claims of callgate and go each, {self.args.npm_count} of and for npm, seed {self.args.seed}")
        for side in self.sides:
            side.close()
        return report, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpp", required=True, help="interop_claims")
    parser.add_argument("--go", help="the Go oracle; without it tools/get-go-oracle is asked")
    parser.add_argument("--node", default="node")
    parser.add_argument("--count", type=int, default=1000, help="random claims of callgate and of Go")
    parser.add_argument("--npm-count", type=int, default=1000, help="random claims to and from npm, about 10 ms each")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--verbose", action="store_true", help="the time of each case")
    parser.add_argument("--junit", help="file to write")
    args = parser.parse_args()
    if not args.go:
        args.go = subprocess.run([os.path.join(ROOT, "tools/get-go-oracle")], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    report, failures = suite(args).run()
    if args.junit:
        os.makedirs(os.path.dirname(os.path.abspath(args.junit)), exist_ok=True)
        xml_tree.ElementTree(report).write(args.junit, encoding="utf-8", xml_declaration=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
