// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// A YAML file as a strict tree with line numbers, and the reader every section of the configuration goes
/// through. Start-up and `callgate check` only; one thread.
namespace callgate::policy {

/// A finding of `callgate check` or of the loader.
struct finding {
    enum class severity : std::uint8_t { error, warning } level = severity::error;
    std::string file;
    int line = 0;          ///< 1-based; 0 = whole file
    std::string key;       ///< "callout.issuer", "policy.rules[2].grant.account"
    std::string text;      ///< what is wrong and what to do
    [[nodiscard]] std::string message() const;  ///< "file:line: key: text"
};
[[nodiscard]] bool has_error(std::span<const finding> findings) noexcept;

struct member;

/// One value of the file. Plain (unquoted) scalars are typed as JSON types them: null or ~, true, false,
/// numbers; everything else, and everything quoted, is a string.
struct node {
    enum class kind : std::uint8_t { null, scalar, sequence, mapping } type = kind::null;
    bool quoted = false;
    bool from_environment = false;  ///< its text came from `${NAME}`: never shown in a message
    int line = 0;
    std::string text;
    std::vector<node> items;
    std::vector<member> members;

    [[nodiscard]] bool is_scalar() const noexcept { return type == kind::scalar; }
    [[nodiscard]] bool is_sequence() const noexcept { return type == kind::sequence; }
    [[nodiscard]] bool is_mapping() const noexcept { return type == kind::mapping; }
    [[nodiscard]] const node* find(std::string_view key) const noexcept;  ///< nullptr when absent
    [[nodiscard]] std::optional<bool> as_bool() const noexcept;           ///< plain true or false only
    [[nodiscard]] std::optional<std::int64_t> as_integer() const noexcept;  ///< plain decimal only
    [[nodiscard]] std::string shown() const;  ///< for messages: bounded, printable, without secrets
};
struct member {
    std::string key;
    int line = 0;
    node value;
};

inline constexpr std::size_t max_document_bytes = 1u << 20;
inline constexpr std::size_t max_document_depth = 64;
inline constexpr std::size_t max_document_nodes = 100'000;

/// One document of at most 1 MiB, 64 levels, 100,000 nodes. Duplicate keys, aliases, merge keys, explicit
/// tags, a second document and invalid UTF-8 are findings. The tree comes back unless the text cannot be
/// parsed at all, so that later checks can still report.
[[nodiscard]] std::optional<node> parse_yaml(const std::string& text, const std::string& file, std::vector<finding>& out);
/// Reads at most max_document_bytes of a regular file.
[[nodiscard]] std::optional<std::string> read_document(const std::string& path, std::vector<finding>& out);
/// Replaces `${NAME}` in all scalar values; a variable that is not set is a finding. `$${` stands for `${`.
void expand_environment(node& root, const std::string& file, std::vector<finding>& out);

/// Compact JSON of a value, typed as described at node.
[[nodiscard]] std::string to_json(const node& value);

/// "30s", "500ms", "1h30m"; nanoseconds. "64KiB", "1MiB", "1024"; bytes. nullopt = not one.
[[nodiscard]] std::optional<std::int64_t> parse_duration(std::string_view text) noexcept;
[[nodiscard]] std::optional<std::int64_t> parse_size(std::string_view text) noexcept;
[[nodiscard]] std::string duration_text(std::int64_t ns);

/// The candidate a mistyped word was probably meant to be; empty = none is near.
[[nodiscard]] std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

/// Keys a mapping may have. `name` is that of the mapping in configs/schema.json (`definitions`).
struct key_table {
    std::string_view name;
    std::span<const std::string_view> keys;
};

/// A key_table with the keys in it: `constexpr auto log_table = keys_of("log", "level", "format");`, of static life.
template <std::size_t N>
struct owned_keys {
    std::string_view name;
    std::array<std::string_view, N> keys;
    constexpr operator key_table() const noexcept { return {name, keys}; }
};
template <class... Key>
[[nodiscard]] constexpr owned_keys<sizeof...(Key)> keys_of(std::string_view name, Key... keys) noexcept {
    return {name, {std::string_view(keys)...}};
}

/// Where findings of one file go.
class reporter {
  public:
    reporter(std::string file, std::vector<finding>& out) : file_(std::move(file)), out_(&out) {}
    void error(int line, std::string key, std::string text) const;
    void warning(int line, std::string key, std::string text) const;
    [[nodiscard]] const std::string& file() const noexcept { return file_; }
    [[nodiscard]] std::vector<finding>& out() const noexcept { return *out_; }
    /// Number of errors so far: lets a caller see whether a step added one.
    [[nodiscard]] std::size_t errors() const noexcept;

  private:
    std::string file_;
    std::vector<finding>* out_;
};

/// A mapping being read: reports unknown keys at once and wrong types, ranges and words when asked for them.
/// Every getter leaves its target untouched when the key is absent or wrong.
class section {
  public:
    /// `value` that is not a mapping is reported (null reads as an empty mapping).
    section(const reporter& to, const node& value, std::string path, key_table table);

    [[nodiscard]] const node* find(std::string_view key) const;      ///< nullptr when absent
    const node* required(std::string_view key) const;  ///< reports when absent
    [[nodiscard]] std::string path_of(std::string_view key) const;
    [[nodiscard]] int line() const noexcept { return value_->line; }
    [[nodiscard]] int line_of(std::string_view key) const;  ///< of the section when absent
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] const reporter& to() const noexcept { return *to_; }

    bool text(std::string_view key, std::string& out) const;  ///< non-empty scalar
    bool flag(std::string_view key, bool& out) const;
    template <class Integer>
    bool integer(std::string_view key, Integer& out, std::int64_t low, std::int64_t high) const {
        std::int64_t v = 0;
        if (!read_integer(key, v, low, high)) return false;
        out = static_cast<Integer>(v);
        return true;
    }
    bool fraction(std::string_view key, double& out, double low, double high) const;
    bool duration(std::string_view key, std::int64_t& out_ns, std::int64_t low_ns, std::int64_t high_ns) const;
    bool size(std::string_view key, std::size_t& out, std::int64_t low, std::int64_t high) const;
    /// Sequence of scalars, or one scalar.
    bool texts(std::string_view key, std::vector<std::string>& out) const;
    /// What must hold at least one; `expected` says so ("a list with at least one backend"). Empty = reported.
    [[nodiscard]] std::span<const node> required_items(std::string_view key, std::string_view expected) const;
    [[nodiscard]] std::span<const member> required_members(std::string_view key, std::string_view expected) const;
    /// Index in `words`.
    std::optional<std::size_t> word(std::string_view key, std::span<const std::string_view> words) const;

    void error(std::string_view key, std::string text) const { to_->error(line_of(key), path_of(key), std::move(text)); }
    void warning(std::string_view key, std::string text) const { to_->warning(line_of(key), path_of(key), std::move(text)); }

  private:
    bool read_integer(std::string_view key, std::int64_t& out, std::int64_t low, std::int64_t high) const;
    [[nodiscard]] const node* scalar(std::string_view key, std::string_view expected) const;

    const reporter* to_;
    const node* value_;
    std::string path_;
    key_table table_;
};

}  // namespace callgate::policy
