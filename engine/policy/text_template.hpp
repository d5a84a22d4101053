// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/policy/condition.hpp"

/// Text with `{{placeholder}}`s, compiled. Internal to the room.
namespace callgate::policy {

inline constexpr std::size_t max_list_values = 64;     ///< of one placeholder
inline constexpr std::size_t max_grant_subjects = 1024;  ///< of all lists of a grant together
inline constexpr std::size_t max_subject_bytes = 1024;

/// Why a grant cannot be made; `id` is a reason id of policy.hpp.
struct refusal {
    std::string_view id;
    std::string text;
};

/// How values are put in. A value is never dropped: what does not fit refuses the grant.
enum class insertion : std::uint8_t {
    one_token,  ///< safe as one subject token, or refused
    encoded,    ///< base32, lower case, always: a plain value that looks like an encoded one stays apart
    key_segment,  ///< printable ASCII without '/', so that it stays one segment of a claim store's key
    free_text,  ///< anything printable: names and tags nobody substitutes into a subject
};

class text_template {
  public:
    /// "app.{{sub}}.>", "{{claims.email | base32}}". Reports what is wrong and then returns nullopt.
    static std::optional<text_template> parse(const std::string& text, int line, const std::string& path, const condition_context& context);

    [[nodiscard]] bool is_literal() const noexcept { return holes_.empty(); }
    [[nodiscard]] const std::vector<field>& holes() const noexcept { return fields_; }
    /// With every placeholder replaced by "x": what a subject must look like.
    [[nodiscard]] std::string sample() const;
    /// Text around the placeholders only.
    [[nodiscard]] const std::string& literal() const noexcept { return pieces_.front(); }

    /// Appends one text for each value of a list-valued placeholder (the product of several, the same one
    /// always with the same value). nullopt = done.
    [[nodiscard]] std::optional<refusal> expand(const facts& f, insertion how, std::size_t limit, std::vector<std::string>& out) const;
    /// Exactly one text.
    [[nodiscard]] std::optional<refusal> expand_one(const facts& f, insertion how, std::string& out) const;

  private:
    struct hole {
        std::size_t field;  ///< index into fields_
        bool base32;
    };
    std::vector<std::string> pieces_{1};  ///< one more than holes_
    std::vector<hole> holes_;
    std::vector<field> fields_;           ///< distinct
};

/// base32 of RFC 4648 in lower case without padding: one safe subject token for any bytes.
[[nodiscard]] std::string encode_token(std::string_view bytes);

}  // namespace callgate::policy
