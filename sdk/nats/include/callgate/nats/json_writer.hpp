// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

/// Compact JSON in the spelling of Go's encoding/json, because the jti of a claim is a hash over that
/// spelling (protocol.md 2.2, 2.3): `<`, `>`, `&`, U+2028 and U+2029 are written as \u003c and so on, and
/// bytes that are no UTF-8 as \ufffd.
namespace callgate::nats {

/// `in` between quotation marks. `html_safe` false leaves `<`, `>` and `&` readable.
void append_json_string(std::string& out, std::string_view in, bool html_safe = true);

/// Appends to a string that the caller owns; adds the commas. Calls must nest properly: nothing is checked.
class json_writer {
  public:
    explicit json_writer(std::string& out, bool html_safe = true) : out_(out), html_safe_(html_safe) {}

    void begin_object() { open('{'); }
    void end_object() { close('}'); }
    void begin_array() { open('['); }
    void end_array() { close(']'); }
    void key(std::string_view name) {
        separate();
        append_json_string(out_, name, html_safe_);
        out_ += ':';
        separator_due_ = false;
    }
    void string(std::string_view v) {
        separate();
        append_json_string(out_, v, html_safe_);
        separator_due_ = true;
    }
    void integer(std::int64_t v) { number(v); }
    void unsigned_integer(std::uint64_t v) { number(v); }
    /// Shortest text that reads back as the same double; an integral one without fraction, as Go writes it.
    void real(double v);
    void boolean(bool v) { raw(v ? "true" : "false"); }
    /// A JSON value that is written already.
    void raw(std::string_view json) {
        separate();
        out_ += json;
        separator_due_ = true;
    }

  private:
    template <class Int>
    void number(Int v) {
        char buffer[24];
        raw({buffer, static_cast<std::size_t>(std::to_chars(buffer, buffer + sizeof buffer, v).ptr - buffer)});
    }
    void open(char c) {
        separate();
        out_ += c;
        separator_due_ = false;
    }
    void close(char c) {
        out_ += c;
        separator_due_ = true;
    }
    void separate() {
        if (separator_due_) out_ += ',';
    }

    std::string& out_;
    bool html_safe_;
    bool separator_due_ = false;
};

/// Readable form of compact JSON that this writer made: two blanks for each level, one member a line.
[[nodiscard]] std::string indent_json(std::string_view compact);

}  // namespace callgate::nats
