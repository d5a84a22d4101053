#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Layout of the plugin ABI, and what may change in it.

  abi_layout.py print INCLUDE [HEADER...]          layout of the headers, measured by the compiler as C11 and as C++20
  abi_layout.py check INCLUDE GOLDEN [HEADER...]   today's layout against a golden file: rules of sdk/docs/abi.md
  abi_layout.py since INCLUDE FROZEN               today's layout against the headers of an earlier release: additions are fine
  abi_layout.py abidiff INCLUDE FROZEN             abidiff sees a change exactly when this script sees one
  abi_layout.py cross INCLUDE GOLDEN CC CXX        the golden file holds for another target's compilers (nothing runs)

A line of the layout: "struct NAME size S align A", "field STRUCT.FIELD offset O size S: DECLARATION",
"constant NAME VALUE", "type NAME: DECLARATION". The parser reads the C these headers are written in and nothing
else; what it might miss shows as a hole between two fields, which is an error."""
import os
import re
import subprocess
import sys
import tempfile

TAG = re.compile(r"\[(?:control|shard|worker|any)\]")
SINCE = re.compile(r"\bsince \d+\.\d+")


class fault(Exception):
    pass


def headers_below(include):
    found = []
    for folder, _, names in os.walk(os.path.join(include, "callgate/abi")):
        if "draft" in os.path.relpath(folder, include).split(os.sep):
            continue
        found += [os.path.relpath(os.path.join(folder, n), include) for n in names if n.endswith(".h")]
    return sorted(found)


def strip(text, keep_comments):
    """Without directives and, unless wanted, without comments; line numbers stay."""
    if not keep_comments:
        text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)
    lines, out, skipping = text.split("\n"), [], False
    for line in lines:
        directive = skipping or line.lstrip().startswith("#")
        skipping = directive and line.rstrip().endswith("\\")
        out.append("" if directive else line)
    return "\n".join(out)


def words(text):
    return re.sub(r"\s*([*(),;\[\]])\s*", r"\1", " ".join(text.split()))


def field_name(declaration, where):
    for pattern in (r"^[\w\s*]+\(\*(\w+)\)\(.*\)$", r"^[\w\s*]*?[\s*](\w+)(?:\[\w+\])?$"):
        match = re.match(pattern, declaration)
        if match:
            return match[1]
    raise fault(f"{where}: cannot read the declaration '{declaration}'; write it as the other headers do")


def split_fields(body):
    """The declarations of a struct's body, each with the offset of its end."""
    start = depth = 0
    for i, c in enumerate(body):
        depth += (c in "({") - (c in ")}")
        if c == ";" and depth == 0:
            yield body[start:i], start
            start = i + 1
    if body[start:].strip():
        raise fault(f"text after the last ';' of a struct: '{body[start:].strip()}'")


def parse(include, header):
    """structs {name: [(field, declaration)]}, constants [(name, is text)], types [(name, declaration)] of one header."""
    path = os.path.join(include, header)
    with open(path, encoding="utf-8") as file:
        raw = file.read()
    bare = strip(raw, False)
    commented = strip(raw, True)
    structs, types = {}, []
    for match in re.finditer(r"(?:typedef\s+)?struct\s+(\w+)\s*\{(.*?)\n\}\s*(\w*)\s*;", bare, re.S):
        name, body, begin = match[1], match[2], match.start(2)
        fields = []
        for text, start in split_fields(body):
            declaration = words(text)
            line = bare.count("\n", 0, begin + start + len(text) - len(text.lstrip())) + 1
            where = f"{path}:{line}"
            field = field_name(declaration, where)
            for forbidden in (r"\bbool\b", r"\blong\b", r"\benum\b", r"\bunion\b", r"\bint\b", r"\bunsigned\b", r":\d", r"\.\.\."):
                if re.search(forbidden, declaration):
                    raise fault(f"{where}: '{declaration}' has a type that rule 1 forbids")
            if "(*" in declaration:
                # The comment that belongs to it: what stands since the field before.
                comment = commented[begin + start:begin + start + len(text)]
                if not TAG.search(comment) or not SINCE.search(comment):
                    raise fault(f"{where}: {name}.{field} needs a comment with a thread tag and 'since MAJOR.MINOR' (rule 8)")
            fields.append((field, declaration))
        structs[name] = fields
        passed = "struct_size" in dict(fields)
        if passed and fields[0] != ("struct_size", "uint32_t struct_size"):
            raise fault(f"{path}: {name}: struct_size must be the first field and a uint32_t (rule 2)")
    for match in re.finditer(r"^typedef\s+([^{};]+);", bare, re.M):
        declaration = words(match[1])
        if not re.match(r"struct \w+ \w+$", declaration):
            name = re.search(r"\(\*(\w+)\)", declaration) or re.search(r"(\w+)$", declaration)
            types.append((name[1], declaration))
    constants = [(m[1], m[2] == '"') for m in re.finditer(r"^#define\s+(CG_\w+)[ \t]+([-(\"\w])", re.sub(r"/\*.*?\*/", "", raw, flags=re.S), re.M)]
    return structs, constants, types


def read_headers(include, headers):
    structs, constants, types = {}, [], []
    for header in headers:
        s, c, t = parse(include, header)
        structs.update(s)
        constants += c
        types += t
    return structs, constants, types


def program(headers, structs, constants):
    out = ["#include <stdio.h>", "#include <stddef.h>"] + [f"#include <{h}>" for h in headers]
    out += ["#ifdef __cplusplus", "#define ALIGN(t) alignof(t)", "#else", "#define ALIGN(t) _Alignof(t)", "#endif", "int main(void) {"]
    for name, fields in structs.items():
        out.append(f'printf("struct {name} size %zu align %zu\\n", sizeof(struct {name}), (size_t)ALIGN(struct {name}));')
        for field, _ in fields:
            member = f"((struct {name}*)0)->{field}"
            out.append(f'printf("field {name}.{field} %zu %zu %zu\\n", offsetof(struct {name}, {field}), sizeof({member}), '
                       f"(size_t)__alignof__({member}));")
    for constant, text in constants:
        out.append(f'printf("constant {constant} %s\\n", {constant});' if text else f'printf("constant {constant} %lld\\n", (long long){constant});')
    return "\n".join(out + ["return 0;", "}", ""])


def compile_with(compiler, standard, source, include, arguments):
    done = subprocess.run([compiler, f"-std={standard}", "-Wall", "-Werror", "-Wno-unused", f"-I{include}", *arguments, source],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise fault(f"{compiler} -std={standard} refuses:\n{done.stderr}")


def measure(include, headers):
    structs, constants, types = read_headers(include, headers)
    outputs = []
    with tempfile.TemporaryDirectory() as folder:
        for compiler, standard, suffix in ((os.environ.get("CC", "cc"), "c11", "c"), (os.environ.get("CXX", "c++"), "c++20", "cpp")):
            source, binary = os.path.join(folder, "layout." + suffix), os.path.join(folder, "layout")
            with open(source, "w", encoding="utf-8") as file:
                file.write(program(headers, structs, constants))
            compile_with(compiler, standard, source, include, ["-o", binary])
            outputs.append(subprocess.run([binary], capture_output=True, text=True, check=True).stdout)
    if outputs[0] != outputs[1]:
        raise fault("C11 and C++20 disagree:\n" + "\n".join(sorted(set(outputs[0].split("\n")) ^ set(outputs[1].split("\n")))))
    declarations = {f"{s}.{f}": d for s, fields in structs.items() for f, d in fields}
    lines, current, end = [], None, 0
    sizes = {}
    for line in outputs[0].splitlines():
        part = line.split(" ")
        if part[0] == "struct":
            current, end, sizes[part[1]] = part[1], 0, (int(part[3]), int(part[5]))
        elif part[0] == "field":
            offset, size, align = (int(p) for p in part[2:])
            if offset != -(-end // align) * align:
                raise fault(f"{part[1]}: a field before it was not read, or is packed (offset {offset}, expected {-(-end // align) * align})")
            end = offset + size
            line = f"field {part[1]} offset {offset} size {size}: {declarations[part[1]]}"
        lines.append(line)
        if part[0] == "field" and part[1] == f"{current}.{structs[current][-1][0]}":
            total, align = sizes[current]
            if total != -(-end // align) * align:
                raise fault(f"{current}: the last field was not read (size {total}, fields end at {end})")
    lines += [f"type {name}: {declaration}" for name, declaration in types]
    return lines


def key(line):
    return " ".join(line.split(" ")[:2]).rstrip(":")


def compare(golden, today):
    """Faults: what a plugin built with the golden headers would notice. Additions: what the golden file lacks."""
    now = {key(line): line for line in today}
    old_sizes, faults, additions = {}, [], []
    for line in golden:
        k = key(line)
        if k not in now:
            faults.append(f"gone: {line}")
        elif k.startswith("struct "):
            old, new = line.split(" "), now[k].split(" ")
            old_sizes[old[1]] = int(old[3])
            if int(new[3]) < int(old[3]):
                faults.append(f"shrank: {line} is now {now[k]}")
            if new[5] != old[5]:
                faults.append(f"alignment changed: {line} is now {now[k]}")
        elif now[k] != line and k != "constant CG_ABI_MINOR":
            faults.append(f"changed: {line}\n      is now: {now[k]}")
    # Value types are nested whole, and arrays without a stride exist of them only: they never grow.
    growing = {line.split(" ")[1].split(".")[0] for line in golden if line.startswith("field ") and ".struct_size " in line}
    before = {key(line) for line in golden}
    for line in today:
        k = key(line)
        if k in before:
            continue
        additions.append(line)
        if k.startswith("field "):
            struct = k.split(" ")[1].split(".")[0]
            if struct not in old_sizes:
                continue
            offset = int(line.split(" ")[3])
            if struct not in growing and not struct_has_stride(struct, golden):
                faults.append(f"{struct} has no struct_size and may never grow: {line}")
            elif offset < old_sizes[struct]:
                faults.append(f"inside the old size of {struct} ({old_sizes[struct]}): {line}")
    return faults, additions


def struct_has_stride(struct, golden):
    """Elements of arrays that travel with a stride: some struct has a pointer to them and a stride."""
    if any(f"const {struct}*" in line and line.endswith("size_t stride)") for line in golden):
        return True
    owners = {line.split(" ")[1].split(".")[0] for line in golden
              if line.startswith("field ") and re.search(r": (?:const )?" + struct + r"\*\w+$", line)}
    return any(line.startswith(f"field {o}.") and "stride " in line for o in owners for line in golden)


def read_golden(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if line.strip() and not line.startswith("#")]


def assertions(golden):
    out = ["#ifndef __cplusplus", "#define static_assert _Static_assert", "#define ALIGN(t) _Alignof(t)", "#else", "#define ALIGN(t) alignof(t)", "#endif"]
    for line in golden:
        part = line.split(" ")
        if part[0] == "struct":
            out.append(f'static_assert(sizeof(struct {part[1]}) == {part[3]} && ALIGN(struct {part[1]}) == {part[5]}, "{part[1]}");')
        elif part[0] == "field":
            struct, field = part[1].split(".")
            out.append(f'static_assert(offsetof(struct {struct}, {field}) == {part[3]} && sizeof(((struct {struct}*)0)->{field}) == {part[5].rstrip(":")}, "{part[1]}");')
    return out


def cross(include, golden, compilers):
    headers = headers_below(include)
    body = ["#include <stddef.h>"] + [f"#include <{h}>" for h in headers] + assertions(golden)
    with tempfile.TemporaryDirectory() as folder:
        for compiler, standard, suffix in zip(compilers, ("c11", "c++20"), ("c", "cpp")):
            source = os.path.join(folder, "layout." + suffix)
            with open(source, "w", encoding="utf-8") as file:
                file.write("\n".join(body) + "\n")
            compile_with(compiler, standard, source, include, ["-fsyntax-only"])
    return len(body)


def library(folder, name, include, headers):
    """A shared object whose exported functions reach every struct of the headers, with debug information."""
    structs, _, types = read_headers(include, headers)
    source, binary = os.path.join(folder, name + ".c"), os.path.join(folder, "libabi.so." + name)
    with open(source, "w", encoding="utf-8") as file:
        file.write("".join(f"#include <{h}>\n" for h in headers))
        for struct in structs:
            file.write(f"void root_{struct}(struct {struct}* p); void root_{struct}(struct {struct}* p) {{ (void)p; }}\n")
        for type_name, _ in types:
            file.write(f"void root_{type_name}({type_name}* p); void root_{type_name}({type_name}* p) {{ (void)p; }}\n")
    compile_with(os.environ.get("CC", "cc"), "c11", source, include, ["-g", "-fPIC", "-shared", "-Wl,-soname,libabi.so", "-o", binary])
    return binary


def second_opinion(include, frozen):
    """abidiff cannot tell an appended field from a shifted one, but it must see each."""
    headers = headers_below(frozen)
    ours = [line for group in compare(measure(frozen, headers), measure(include, headers)) for line in group
            if not line.startswith("constant ") and "constant CG_" not in line]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["abidiff", "--no-show-locs", library(folder, "old", frozen, headers), library(folder, "new", include, headers)],
                              capture_output=True, text=True, check=False)
    if done.returncode & 3:
        raise fault(f"abidiff did not run: {done.stderr or done.stdout}")
    if bool(done.returncode) != bool(ours):
        raise fault(f"abidiff {'sees a change' if done.returncode else 'sees no change'}, this script sees {len(ours)}:\n" + "\n".join(ours) + "\n" + done.stdout)
    print(f"abidiff and this script agree: {len(ours)} changes in {len(headers)} headers")


def main(arguments):
    if len(arguments) < 2 or arguments[0] not in ("print", "check", "since", "abidiff", "cross"):
        print(__doc__)
        return 2
    mode, include = arguments[:2]
    if mode == "print":
        print("\n".join(measure(include, arguments[2:] or headers_below(include))))
        return 0
    if mode == "abidiff":
        second_opinion(include, arguments[2])
        return 0
    if mode == "since":
        faults, additions = compare(measure(arguments[2], headers_below(arguments[2])), measure(include, headers_below(include)))
        for text in faults:
            print("BREAK", text)
        print(f"{len(faults)} breaks, {len(additions)} additions since {arguments[2]}")
        return 1 if faults else 0
    golden = read_golden(arguments[2])
    if mode == "cross":
        count = cross(include, golden, arguments[3:5])
        print(f"{count} assertions hold for {arguments[3]} and {arguments[4]}")
        return 0
    faults, additions = compare(golden, measure(include, arguments[3:] or headers_below(include)))
    for text in faults:
        print("BREAK", text)
    for text in additions:
        print("NEW  ", text)
    if additions and not faults:
        print(f"Additions are legal; acknowledge them: {sys.argv[0]} print {include} > {arguments[2]}, and raise CG_ABI_MINOR with the first one after a release")
    return 1 if faults or additions else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except fault as error:
        print("abi_layout:", error, file=sys.stderr)
        sys.exit(1)
