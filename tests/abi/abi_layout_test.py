#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What abi_layout.py must notice, on altered copies of the real headers. Usage: abi_layout_test.py INCLUDE"""
import os
import re
import shutil
import sys
import tempfile
import unittest

import abi_layout

INCLUDE = ""


class altered_headers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.golden = abi_layout.measure(INCLUDE, abi_layout.headers_below(INCLUDE))

    def outcome(self, header, pattern, replacement):
        """Faults and additions after one substitution, which must hit exactly once."""
        with tempfile.TemporaryDirectory() as folder:
            include = os.path.join(folder, "include")
            shutil.copytree(INCLUDE, include)
            path = os.path.join(include, "callgate/abi", header)
            with open(path, encoding="utf-8") as file:
                text = file.read()
            text, count = re.subn(pattern, replacement, text, flags=re.S)
            self.assertEqual(count, 1, f"{pattern} in {header}")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return abi_layout.compare(self.golden, abi_layout.measure(include, abi_layout.headers_below(include)))

    def breaks(self, header, pattern, replacement, what):
        faults, _ = self.outcome(header, pattern, replacement)
        self.assertTrue(any(what in f for f in faults), faults)

    def refused(self, header, pattern, replacement, what):
        with self.assertRaisesRegex(abi_layout.fault, what):
            self.outcome(header, pattern, replacement)

    def test_unchanged(self):
        self.assertEqual(abi_layout.compare(self.golden, self.golden), ([], []))

    def test_appended_field_is_legal(self):
        faults, additions = self.outcome("auth_backend.h", r"(    cg_str claims_json;[^\n]*\n)", r"\1    cg_str later;\n")
        self.assertEqual(faults, [])
        self.assertEqual([a for a in additions if "later" in a], ["field cg_auth_request.later offset 528 size 16: cg_str later"])

    def test_appended_to_an_element_with_a_stride_is_legal(self):
        faults, _ = self.outcome("auth_backend.h", r"(    cg_str outcome;[^\n]*\n)", r"\1    cg_str more;\n")
        self.assertEqual(faults, [])
        faults, _ = self.outcome("base.h", r"(    cg_str key;\n    cg_str value;\n)", r"\1    uint64_t more;\n")
        self.assertEqual(faults, [])

    def test_value_type_never_grows(self):
        self.breaks("base.h", r"(    const char\* data;[^\n]*\n    size_t size;\n)", r"\1    size_t cap;\n", "cg_str has no struct_size")

    def test_inserted_field(self):
        self.breaks("auth_backend.h", r"(    cg_str server_id;)", r"    cg_str extra;\n\1", "changed: field cg_auth_request.server_id")

    def test_field_in_old_padding(self):
        with_hole = [re.sub(r"^struct cg_shared_key size 40", "struct cg_shared_key size 48", line) for line in self.golden]
        today = with_hole + ["field cg_shared_key.extra offset 40 size 4: uint32_t extra"]
        faults, _ = abi_layout.compare(with_hole, today)
        self.assertTrue(any("inside the old size" in f for f in faults), faults)

    def test_widened_field(self):
        self.breaks("base.h", r"uint32_t retry_after_ms;", "uint64_t retry_after_ms;", "changed: field cg_error.retry_after_ms")

    def test_reordered_fields(self):
        self.breaks("host.h", r"uint32_t abi_major;\n    uint32_t abi_minor;", "uint32_t abi_minor;\n    uint32_t abi_major;", "changed: field cg_host.abi_m")

    def test_removed_field(self):
        self.breaks("auth_backend.h", r"    cg_str client_mqtt_id;\n", "", "gone: field cg_auth_request.client_mqtt_id")

    def test_renamed_field(self):
        self.breaks("auth_backend.h", r"cg_str client_mqtt_id;", "cg_str mqtt_client_id;", "gone: field cg_auth_request.client_mqtt_id")

    def test_changed_signature(self):
        self.breaks("host.h", r"int32_t \(\*is_cancelled\)\(const cg_host\* host, cg_op op\)", "int32_t (*is_cancelled)(const cg_host* host, uint32_t op)",
                    "changed: field cg_core.is_cancelled")

    def test_changed_constant(self):
        self.breaks("base.h", r"#define CG_E_BUSY \(-9\)", "#define CG_E_BUSY (-19)", "changed: constant CG_E_BUSY")

    def test_changed_entry_symbol(self):
        self.breaks("entry.h", r'"cg_plugin_entry_v1"', '"cg_plugin_entry_v2"', "changed: constant CG_ENTRY_SYMBOL")

    def test_changed_typedef(self):
        self.breaks("base.h", r"typedef uint64_t cg_op;", "typedef uint32_t cg_op;", "changed: type cg_op")

    def test_new_constant_is_legal(self):
        faults, additions = self.outcome("base.h", r"(#define CG_LOG_ERROR 4\n)", r"\1#define CG_LOG_FATAL 5\n")
        self.assertEqual((faults, additions), ([], ["constant CG_LOG_FATAL 5"]))

    def test_function_without_a_tag(self):
        self.refused("host.h", r"/\* \[any\] since 1.0 \*/\n", "", "needs a comment with a thread tag")

    def test_function_without_a_version(self):
        self.refused("host.h", r"\[any\] since 1.0 \*/", "[any] */", "since MAJOR.MINOR")

    def test_struct_size_not_first(self):
        self.refused("instance.h", r"uint32_t struct_size;\n    uint32_t state;", "uint32_t state;\n    uint32_t struct_size;", "struct_size must be the first")

    def test_forbidden_types(self):
        for text in ("long x;", "bool x;", "unsigned x:3;", "enum e x;"):
            self.refused("instance.h", r"(    cg_str text;\n\} cg_health)", "    " + text + r"\n\1", "rule 1 forbids|cannot read")

    def test_field_the_parser_cannot_read(self):
        self.refused("instance.h", r"(    cg_str text;\n\} cg_health)", r"    __extension__ uint64_t (x);\n\1", "cannot read the declaration")

    def test_hidden_field_shows_as_a_hole(self):
        self.refused("instance.h", r"(    cg_str text;\n\} cg_health)", "#if 1\n#define HIDDEN cg_str hidden;\n#endif\n    HIDDEN\n" + r"\1", "cannot read|was not read")

    def test_cross_assertions_fail_on_another_layout(self):
        wrong = [line.replace("field cg_error.text offset 16", "field cg_error.text offset 24") for line in self.golden]
        self.assertNotEqual(wrong, self.golden)
        with self.assertRaisesRegex(abi_layout.fault, "cg_error.text"):
            abi_layout.cross(INCLUDE, wrong, ["cc", "c++"])


class second_opinion(unittest.TestCase):
    def test_abidiff_sees_a_widened_middle_field(self):
        with tempfile.TemporaryDirectory() as folder:
            include = os.path.join(folder, "include")
            shutil.copytree(INCLUDE, include)
            abi_layout.second_opinion(include, INCLUDE)
            path = os.path.join(include, "callgate/abi/instance.h")
            with open(path, encoding="utf-8") as file:
                text = file.read().replace("uint32_t state; /*", "uint64_t state; /*")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            abi_layout.second_opinion(include, INCLUDE)
            # A script that saw nothing would be contradicted.
            honest = abi_layout.compare
            try:
                abi_layout.compare = lambda *_: ([], [])
                with self.assertRaisesRegex(abi_layout.fault, "abidiff sees a change"):
                    abi_layout.second_opinion(include, INCLUDE)
            finally:
                abi_layout.compare = honest


if __name__ == "__main__":
    INCLUDE = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
