// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/json_writer.hpp>
#include <callgate/nats/jwt.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json_reader.hpp"

/// object_writer and object_reader have the same members, so that one description of a claim
/// (claims_fields.hpp) serves both ways and the two cannot drift apart. The first error stays; what
/// follows it is void.
namespace callgate::nats {

/// Where in the claim we are, for error texts.
struct member_path {
    const member_path* parent = nullptr;
    std::string_view name;
    [[nodiscard]] std::string text() const {
        if (parent == nullptr) return std::string(name);
        const auto above = parent->text();
        return above.empty() ? std::string(name) : above + '.' + std::string(name);
    }
};

struct io_failure {
    std::optional<error> first;
    void set(errc code, const member_path& at, const std::string& why) {
        if (!first) first = error{code, "member " + at.text() + ": " + why};
    }
};

/// For error texts: at most 80 characters, and nothing of what looks like a seed or private key.
[[nodiscard]] std::string quoted_text(std::string_view text);

class object_writer {
  public:
    static constexpr bool reading = false;
    object_writer(json_writer& out, io_failure& failure, const member_path& path) : out_(out), failure_(failure), path_(path) {}

    void text(std::string_view name, std::string& v) {
        names_.push_back(name);
        if (!v.empty()) always_text(name, v);
    }
    void always_text(std::string_view name, std::string& v) {
        key(name);
        out_.string(v);
    }
    /// One of `allowed`, or empty.
    void choice(std::string_view name, std::string& v, std::initializer_list<std::string_view> allowed) {
        if (!v.empty() && std::ranges::find(allowed, v) == allowed.end()) fail(errc::bad_claims, name, "unknown value " + quoted_text(v));
        text(name, v);
    }
    void integer(std::string_view name, std::int64_t& v, std::int64_t low = std::numeric_limits<std::int64_t>::min(),
                 std::int64_t high = std::numeric_limits<std::int64_t>::max()) {
        names_.push_back(name);
        if (v != 0) always_integer(name, v, low, high);
    }
    void always_integer(std::string_view name, std::int64_t& v, std::int64_t low = std::numeric_limits<std::int64_t>::min(),
                        std::int64_t high = std::numeric_limits<std::int64_t>::max()) {
        if (v < low || v > high) fail(errc::bad_claims, name, std::to_string(v) + " is out of range");
        key(name);
        out_.integer(v);
    }
    void unsigned_integer(std::string_view name, std::uint64_t& v) {
        names_.push_back(name);
        if (v == 0) return;
        key(name);
        out_.unsigned_integer(v);
    }
    void flag(std::string_view name, bool& v) {
        names_.push_back(name);
        if (!v) return;
        key(name);
        out_.boolean(v);
    }
    void texts(std::string_view name, std::vector<std::string>& v) {
        names_.push_back(name);
        if (v.empty()) return;
        key(name);
        write_texts(v);
    }
    void cidr_texts(std::string_view name, std::vector<std::string>& v) { texts(name, v); }
    void text_lists(std::string_view name, std::vector<std::vector<std::string>>& v) {
        names_.push_back(name);
        if (v.empty()) return;
        key(name);
        out_.begin_array();
        for (auto& list : v) write_texts(list);
        out_.end_array();
    }
    void integers_by_name(std::string_view name, std::map<std::string, std::int64_t>& v) {
        names_.push_back(name);
        if (v.empty()) return;
        key(name);
        out_.begin_object();
        for (auto& [k, n] : v) {
            out_.key(k);
            out_.integer(n);
        }
        out_.end_object();
    }
    template <class T>
    void object(std::string_view name, T& v) {
        key(name);
        nested(v, {&path_, name});
    }
    template <class T>
    void object(std::string_view name, std::optional<T>& v) {
        names_.push_back(name);
        if (v) object(name, *v);
    }
    template <class T>
    void objects(std::string_view name, std::vector<T>& v) {
        names_.push_back(name);
        if (v.empty()) return;
        key(name);
        write_objects(v, {&path_, name});
    }
    template <class T>
    void objects_by_name(std::string_view name, std::map<std::string, T>& v) {
        names_.push_back(name);
        if (v.empty()) return;
        key(name);
        out_.begin_object();
        for (auto& [k, item] : v) {
            out_.key(k);
            nested(item, {&path_, name});
        }
        out_.end_object();
    }
    template <class T>
    void object_lists_by_name(std::string_view name, std::map<std::string, std::vector<T>>& v) {
        names_.push_back(name);
        if (v.empty()) return;
        key(name);
        out_.begin_object();
        for (auto& [k, items] : v) {
            out_.key(k);
            write_objects(items, {&path_, name});
        }
        out_.end_object();
    }

    void key(std::string_view name) {
        names_.push_back(name);
        out_.key(name);
    }
    [[nodiscard]] json_writer& out() { return out_; }
    template <class T>
    void nested(T& v, const member_path& at) {
        out_.begin_object();
        object_writer inner(out_, failure_, at);
        fields(inner, v);
        out_.end_object();
    }
    /// Members that came with a token we once read. Refused where they would say something twice or are no JSON.
    void unknown(const unknown_members& members, std::initializer_list<std::string_view> reserved) {
        for (const auto& [name, json] : members) {
            const auto folded = folded_name(name);
            if (std::ranges::find(names_, folded) != names_.end() || std::ranges::find(reserved, folded) != reserved.end())
                fail(errc::bad_claims, quoted_text(name), "is among the unknown members but has a meaning of its own");
            simdjson::dom::parser parser;
            if (auto r = parse_strict(parser, json, quoted_text(name)); !r && !failure_.first) failure_.first = r.error();
            out_.key(name);
            out_.raw(json);
        }
    }
    void fail(errc code, std::string_view name, const std::string& why) { failure_.set(code, {&path_, name}, why); }

  private:
    void write_texts(const std::vector<std::string>& v) {
        out_.begin_array();
        for (const auto& s : v) out_.string(s);
        out_.end_array();
    }
    template <class T>
    void write_objects(std::vector<T>& v, const member_path& at) {
        out_.begin_array();
        for (auto& item : v) nested(item, at);
        out_.end_array();
    }

    json_writer& out_;
    io_failure& failure_;
    const member_path& path_;
    std::vector<std::string_view> names_;
};

class object_reader {
  public:
    static constexpr bool reading = true;
    object_reader(simdjson::dom::object object, io_failure& failure, const member_path& path) : failure_(failure), path_(path) {
        for (auto [name, value] : object) members_.push_back({name, value, false});
    }

    void text(std::string_view name, std::string& v) {
        if (const auto* e = take(name)) read_text(*e, name, v);
    }
    void always_text(std::string_view name, std::string& v) { text(name, v); }
    void choice(std::string_view name, std::string& v, std::initializer_list<std::string_view> allowed) {
        const auto* e = take(name);
        if (e == nullptr) return;
        read_text(*e, name, v);
        if (std::ranges::find(allowed, v) == allowed.end()) fail(errc::bad_claims, name, "unknown value " + quoted_text(v));
    }
    void integer(std::string_view name, std::int64_t& v, std::int64_t low = std::numeric_limits<std::int64_t>::min(),
                 std::int64_t high = std::numeric_limits<std::int64_t>::max()) {
        if (const auto* e = take(name)) read_integer(*e, name, v, low, high);
    }
    void always_integer(std::string_view name, std::int64_t& v, std::int64_t low = std::numeric_limits<std::int64_t>::min(),
                        std::int64_t high = std::numeric_limits<std::int64_t>::max()) {
        integer(name, v, low, high);
    }
    void unsigned_integer(std::string_view name, std::uint64_t& v) {
        const auto* e = take(name);
        if (e != nullptr && e->get_uint64().get(v) != simdjson::SUCCESS) fail(errc::bad_json, name, "expected an unsigned integer");
    }
    void flag(std::string_view name, bool& v) {
        const auto* e = take(name);
        if (e != nullptr && e->get_bool().get(v) != simdjson::SUCCESS) fail(errc::bad_json, name, "expected true or false");
    }
    void texts(std::string_view name, std::vector<std::string>& v) {
        if (const auto* e = take(name)) read_texts(*e, name, v);
    }
    /// An array, or one text with commas (2.7).
    void cidr_texts(std::string_view name, std::vector<std::string>& v);
    void text_lists(std::string_view name, std::vector<std::vector<std::string>>& v) {
        for_each_item(take(name), name, [&](simdjson::dom::element item) { read_texts(item, name, v.emplace_back()); });
    }
    void integers_by_name(std::string_view name, std::map<std::string, std::int64_t>& v) {
        for_each_member(take(name), name, [&](std::string_view k, simdjson::dom::element item) {
            read_integer(item, name, v[std::string(k)], std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
        });
    }
    template <class T>
    void object(std::string_view name, T& v) {
        if (const auto* e = take(name)) nested(*e, name, v);
    }
    template <class T>
    void object(std::string_view name, std::optional<T>& v) {
        if (const auto* e = take(name)) nested(*e, name, v.emplace());
    }
    template <class T>
    void objects(std::string_view name, std::vector<T>& v) {
        for_each_item(take(name), name, [&](simdjson::dom::element item) { nested(item, name, v.emplace_back()); });
    }
    template <class T>
    void objects_by_name(std::string_view name, std::map<std::string, T>& v) {
        for_each_member(take(name), name, [&](std::string_view k, simdjson::dom::element item) { nested(item, name, v[std::string(k)]); });
    }
    template <class T>
    void object_lists_by_name(std::string_view name, std::map<std::string, std::vector<T>>& v) {
        for_each_member(take(name), name, [&](std::string_view k, simdjson::dom::element item) {
            auto& list = v[std::string(k)];
            for_each_item(&item, name, [&](simdjson::dom::element one) { nested(one, name, list.emplace_back()); });
        });
    }

    /// nullptr when absent. null counts as absent, as it does in Go.
    const simdjson::dom::element* take(std::string_view name) {
        asked_.push_back(name);
        for (auto& m : members_)
            if (m.name == name) {
                m.taken = true;
                return m.value.is_null() ? nullptr : &m.value;
            }
        return nullptr;
    }
    template <class T>
    void nested(simdjson::dom::element e, std::string_view name, T& v) {
        const member_path at{&path_, name};
        if (!e.is_object()) return fail(errc::bad_json, name, "expected an object");
        object_reader inner(e.get_object().value_unsafe(), failure_, at);
        fields(inner, v);
        inner.finish(nullptr);
    }
    template <class F>
    void for_each_item(const simdjson::dom::element* e, std::string_view name, F f) {
        if (e == nullptr || e->is_null()) return;
        if (!e->is_array()) return fail(errc::bad_json, name, "expected an array");
        const simdjson::dom::array items = e->get_array().value_unsafe();
        for (simdjson::dom::element item : items) f(item);
    }
    template <class F>
    void for_each_member(const simdjson::dom::element* e, std::string_view name, F f) {
        if (e == nullptr || e->is_null()) return;
        if (!e->is_object()) return fail(errc::bad_json, name, "expected an object");
        const simdjson::dom::object members = e->get_object().value_unsafe();
        for (auto [k, item] : members) f(k, item);
    }
    /// What nobody took. A name that another reader would take for a known one is refused: the two readers
    /// would see different claims in one signed token.
    void finish(unknown_members* sink);
    void fail(errc code, std::string_view name, const std::string& why) { failure_.set(code, {&path_, name}, why); }

    void read_text(simdjson::dom::element e, std::string_view name, std::string& v) {
        std::string_view s;
        if (e.get_string().get(s) != simdjson::SUCCESS) return fail(errc::bad_json, name, "expected a string");
        v = s;
    }
    void read_integer(simdjson::dom::element e, std::string_view name, std::int64_t& v, std::int64_t low, std::int64_t high) {
        if (!e.is_int64()) return fail(errc::bad_json, name, "expected an integer of 64 bits");
        v = e.get_int64().value_unsafe();
        if (v < low || v > high) fail(errc::bad_json, name, std::to_string(v) + " is out of range");
    }
    void read_texts(simdjson::dom::element e, std::string_view name, std::vector<std::string>& v) {
        for_each_item(&e, name, [&](simdjson::dom::element item) { read_text(item, name, v.emplace_back()); });
    }

  private:
    struct member {
        std::string_view name;
        simdjson::dom::element value;
        bool taken;
    };
    std::vector<member> members_;
    std::vector<std::string_view> asked_;
    io_failure& failure_;
    const member_path& path_;
};

}  // namespace callgate::nats
