// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/value.hpp>
#include <charconv>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

/// Reading an instance's config_json while it is created. Exceptions, allocation: for start-up only.
/// The host has checked the text against the factory's schema; what is read here still names its key
/// when it does not fit, so that a plugin also works under a host that does not check.
namespace callgate::sdk {

namespace detail {

struct json_member;
struct json_node {
    enum class kind : std::uint8_t { null, boolean, number, string, array, object };
    kind type = kind::null;
    bool flag = false;
    std::string text;  // of a string; literal of a number
    std::vector<json_node> items;
    // Not pairs: whether a pair of an incomplete type can be made is asked too early for clang.
    std::vector<json_member> members;
};
struct json_member {
    std::string name;
    json_node value;
};

/// RFC 8259, strict; at most 64 deep; a repeated member is an error.
class json_reader {
  public:
    explicit json_reader(std::string_view in) : in_(in) {}
    json_node document() {
        json_node n = value(0);
        space();
        if (at_ != in_.size()) fail("something follows the document");
        return n;
    }

  private:
    [[noreturn]] void fail(const char* why) const {
        throw status_error(CG_E_INVALID, std::string("the configuration is not JSON: ") + why + " at byte " + std::to_string(at_));
    }
    void space() {
        while (at_ < in_.size() && (in_[at_] == ' ' || in_[at_] == '\t' || in_[at_] == '\n' || in_[at_] == '\r')) ++at_;
    }
    bool take(char c) {
        space();
        if (at_ >= in_.size() || in_[at_] != c) return false;
        ++at_;
        return true;
    }
    bool word(std::string_view w) {
        if (!in_.substr(at_).starts_with(w)) return false;
        at_ += w.size();
        return true;
    }
    json_node value(int depth) {
        if (depth > 64) fail("more than 64 levels");
        space();
        if (at_ >= in_.size()) fail("it ends early");
        json_node n;
        using k = json_node::kind;
        switch (in_[at_]) {
            case '{': object(n, depth); break;
            case '[': array(n, depth); break;
            case '"': n.type = k::string; n.text = string(); break;
            case 't': if (!word("true")) fail("unknown word"); n.type = k::boolean; n.flag = true; break;
            case 'f': if (!word("false")) fail("unknown word"); n.type = k::boolean; break;
            case 'n': if (!word("null")) fail("unknown word"); break;
            default: number(n);
        }
        return n;
    }
    void object(json_node& n, int depth) {
        n.type = json_node::kind::object;
        ++at_;
        if (take('}')) return;
        do {
            space();
            if (at_ >= in_.size() || in_[at_] != '"') fail("a member name is missing");
            std::string key = string();
            for (const auto& [k, v] : n.members)
                if (k == key) fail("a member is repeated");
            if (!take(':')) fail("':' is missing");
            n.members.push_back({std::move(key), value(depth + 1)});
        } while (take(','));
        if (!take('}')) fail("'}' is missing");
    }
    void array(json_node& n, int depth) {
        n.type = json_node::kind::array;
        ++at_;
        if (take(']')) return;
        do n.items.push_back(value(depth + 1));
        while (take(','));
        if (!take(']')) fail("']' is missing");
    }
    void number(json_node& n) {
        const std::size_t start = at_;
        const auto digits = [&] {
            const std::size_t from = at_;
            while (at_ < in_.size() && in_[at_] >= '0' && in_[at_] <= '9') ++at_;
            if (at_ == from) fail("a value is missing");
        };
        if (at_ < in_.size() && in_[at_] == '-') ++at_;
        const std::size_t first = at_;
        digits();
        if (in_[first] == '0' && at_ - first > 1) fail("a number starts with 0");
        if (at_ < in_.size() && in_[at_] == '.') ++at_, digits();
        if (at_ < in_.size() && (in_[at_] == 'e' || in_[at_] == 'E')) {
            ++at_;
            if (at_ < in_.size() && (in_[at_] == '+' || in_[at_] == '-')) ++at_;
            digits();
        }
        n.type = json_node::kind::number;
        n.text = in_.substr(start, at_ - start);
    }
    unsigned hex4() {
        if (in_.size() - at_ < 4) fail("a \\u escape is cut");
        unsigned v = 0;
        const auto [end, ec] = std::from_chars(in_.data() + at_, in_.data() + at_ + 4, v, 16);
        if (ec != std::errc{} || end != in_.data() + at_ + 4) fail("a \\u escape is not four hex digits");
        at_ += 4;
        return v;
    }
    static void utf8(std::string& out, unsigned c) {
        if (c < 0x80) {
            out += static_cast<char>(c);
            return;
        }
        if (c >= 0x10000) {
            out += static_cast<char>(0xF0 | (c >> 18));
            out += static_cast<char>(0x80 | ((c >> 12) & 63));
        } else if (c >= 0x800) {
            out += static_cast<char>(0xE0 | (c >> 12));
        } else {
            out += static_cast<char>(0xC0 | (c >> 6));
        }
        if (c >= 0x800) out += static_cast<char>(0x80 | ((c >> 6) & 63));
        out += static_cast<char>(0x80 | (c & 63));
    }
    std::string string() {
        std::string out;
        ++at_;
        for (;;) {
            if (at_ >= in_.size()) fail("a string does not end");
            const char c = in_[at_++];
            if (c == '"') return out;
            if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
            if (c != '\\') {
                out += c;
                continue;
            }
            if (at_ >= in_.size()) fail("a string does not end");
            switch (in_[at_++]) {
                case '"': out += '"'; break;
                case '\\': out += '\\'; break;
                case '/': out += '/'; break;
                case 'b': out += '\b'; break;
                case 'f': out += '\f'; break;
                case 'n': out += '\n'; break;
                case 'r': out += '\r'; break;
                case 't': out += '\t'; break;
                case 'u': {
                    unsigned v = hex4();
                    if (v >= 0xDC00 && v < 0xE000) fail("half a surrogate pair");
                    if (v >= 0xD800 && v < 0xDC00) {
                        if (!word("\\u")) fail("half a surrogate pair");
                        const unsigned low = hex4();
                        if (low < 0xDC00 || low >= 0xE000) fail("half a surrogate pair");
                        v = 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
                    }
                    utf8(out, v);
                    break;
                }
                default: fail("an unknown escape");
            }
        }
    }

    std::string_view in_;
    std::size_t at_ = 0;
};

}  // namespace detail

/// "250ms", "30s", "5m", "1h", "7d"; a bare "0" is zero. Throws status_error naming the text.
[[nodiscard]] inline std::chrono::nanoseconds parse_duration(std::string_view text) {
    double n = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    const double scale = unit == "ms" ? 1e6 : unit == "s" ? 1e9 : unit == "m" ? 6e10 : unit == "h" ? 3.6e12 : unit == "d" ? 8.64e13
                         : unit.empty() && n == 0 ? 1 : 0;
    if (ec != std::errc{} || scale == 0 || !(n >= 0) || n * scale > 9e18)
        throw status_error(CG_E_INVALID, "\"" + std::string(text) + "\" is not a duration such as 250ms, 30s, 5m, 1h or 7d");
    return std::chrono::nanoseconds(static_cast<std::int64_t>(n * scale));
}

/// One value of the configuration with its path. Cheap to copy; keeps the document alive.
class config_view {
    using node = detail::json_node;

  public:
    static config_view parse(std::string_view json) {
        auto root = std::make_shared<const node>(detail::json_reader(json).document());
        return {root, root.get(), ""};
    }

    /// "issuers[0].leeway"; empty at the root.
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }

    /// Throws status_error(CG_E_INVALID) when absent.
    [[nodiscard]] config_view at(std::string_view key) const {
        if (const node* n = find(key)) return {root_, n, join(key)};
        throw status_error(CG_E_INVALID, "this key is missing", join(key));
    }
    [[nodiscard]] std::vector<config_view> items() const {
        expect(node::kind::array, "a list");
        std::vector<config_view> out;
        for (std::size_t i = 0; i < node_->items.size(); ++i)
            out.push_back({root_, &node_->items[i], path_ + "[" + std::to_string(i) + "]"});
        return out;
    }
    [[nodiscard]] std::vector<std::pair<std::string, config_view>> members() const {
        expect(node::kind::object, "a map");
        std::vector<std::pair<std::string, config_view>> out;
        for (const auto& [k, v] : node_->members) out.emplace_back(k, config_view{root_, &v, join(k)});
        return out;
    }
    [[nodiscard]] bool is_string() const noexcept { return node_->type == node::kind::string; }
    [[nodiscard]] bool is_array() const noexcept { return node_->type == node::kind::array; }

    [[nodiscard]] std::string string() const {
        expect(node::kind::string, "a string");
        return node_->text;
    }
    [[nodiscard]] bool boolean() const {
        expect(node::kind::boolean, "true or false");
        return node_->flag;
    }
    /// Throws unless min <= value <= max.
    [[nodiscard]] std::int64_t integer(std::int64_t min, std::int64_t max) const {
        expect(node::kind::number, "a whole number");
        std::int64_t v = 0;
        const char* last = node_->text.data() + node_->text.size();
        const auto [end, ec] = std::from_chars(node_->text.data(), last, v);
        if (ec != std::errc{} || end != last || v < min || v > max)
            fail("must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
        return v;
    }
    [[nodiscard]] std::chrono::nanoseconds duration(std::chrono::nanoseconds min, std::chrono::nanoseconds max) const {
        std::chrono::nanoseconds v{};
        try {
            v = parse_duration(string());
        } catch (const status_error& e) {
            if (!e.where().empty()) throw;
            fail(e.what());
        }
        if (v < min || v > max) {
            using seconds = std::chrono::duration<double>;
            fail("must be from " + std::to_string(seconds(min).count()) + " s to " + std::to_string(seconds(max).count()) + " s");
        }
        return v;
    }
    [[nodiscard]] std::vector<std::string> strings() const {
        std::vector<std::string> out;
        for (const auto& i : items()) out.push_back(i.string());
        return out;
    }

    [[nodiscard]] std::string string_or(std::string_view key, std::string_view def) const { return has(key) ? at(key).string() : std::string(def); }
    [[nodiscard]] bool boolean_or(std::string_view key, bool def) const { return has(key) ? at(key).boolean() : def; }
    [[nodiscard]] std::int64_t integer_or(std::string_view key, std::int64_t def, std::int64_t min, std::int64_t max) const {
        return has(key) ? at(key).integer(min, max) : def;
    }
    [[nodiscard]] std::chrono::nanoseconds duration_or(std::string_view key, std::chrono::nanoseconds def, std::chrono::nanoseconds min,
                                                       std::chrono::nanoseconds max) const {
        return has(key) ? at(key).duration(min, max) : def;
    }
    /// Throws for the first member that is not in `known`.
    void only(std::initializer_list<std::string_view> known) const {
        for (const auto& [k, v] : members())
            if (std::find(known.begin(), known.end(), k) == known.end()) throw status_error(CG_E_INVALID, "this key is not known", v.path());
    }
    /// Throws status_error(CG_E_INVALID) with this value's path.
    [[noreturn]] void fail(const std::string& why) const { throw status_error(CG_E_INVALID, why, path_); }

  private:
    config_view(std::shared_ptr<const node> root, const node* n, std::string path)
        : root_(std::move(root)), node_(n), path_(std::move(path)) {}
    [[nodiscard]] std::string join(std::string_view key) const { return path_.empty() ? std::string(key) : path_ + "." + std::string(key); }
    void expect(node::kind k, const char* what) const {
        if (node_->type != k) fail(std::string("must be ") + what);
    }
    [[nodiscard]] const node* find(std::string_view key) const {
        expect(node::kind::object, "a map");
        for (const auto& [k, v] : node_->members)
            if (k == key) return &v;
        return nullptr;
    }

    std::shared_ptr<const node> root_;
    const node* node_;
    std::string path_;
};

}  // namespace callgate::sdk
