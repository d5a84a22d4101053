// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/scope_template.hpp>
#include <gtest/gtest.h>

using namespace callgate::nats;

namespace {

using texts = std::vector<std::string>;

template_context context() {
    return {"alice", "UABC", "acme", "AABC", {"team:red", "team:blue", "env:prod", "dotted:a.b", "wild:*"}, {"plan:gold", "plan:silver"}};
}
result<permissions> expanded(permissions p, template_dialect d = template_dialect::v2_11, const template_context& c = context()) { return expand(p, c, d); }
texts allowed(std::string subject, template_dialect d = template_dialect::v2_11, const template_context& c = context()) {
    permissions p;
    p.pub.allow = {std::move(subject)};
    auto r = expanded(p, d, c);
    EXPECT_TRUE(r) << r.error().text;
    return r ? r->pub.allow : texts{"failed"};
}
bool denied_fails(std::string subject, template_dialect d = template_dialect::v2_11) {
    permissions p;
    p.sub.deny = {std::move(subject)};
    return !expanded(p, d);
}
constexpr auto old = template_dialect::v2_10;

}  // namespace

TEST(scope_template, functions) {
    for (auto d : {template_dialect::v2_10, template_dialect::v2_11}) {
        EXPECT_EQ(allowed("a.{{name()}}.b", d), texts{"a.alice.b"});
        EXPECT_EQ(allowed("{{subject()}}", d), texts{"UABC"});
        EXPECT_EQ(allowed("{{account-name()}}.>", d), texts{"acme.>"});
        EXPECT_EQ(allowed("{{account-subject()}}", d), texts{"AABC"});
        EXPECT_EQ(allowed("{{NAME()}}", d), texts{"alice"});
        EXPECT_EQ(allowed("t.{{tag(team)}}", d), (texts{"t.red", "t.blue"}));
        EXPECT_EQ(allowed("t.{{tag(TEAM)}}", d), (texts{"t.red", "t.blue"}));
        EXPECT_EQ(allowed("p.{{account-tag(plan)}}", d), (texts{"p.gold", "p.silver"}));
        EXPECT_EQ(allowed("plain.>", d), texts{"plain.>"});
    }
}

TEST(scope_template, several_tags_multiply_the_last_running_fastest) {
    for (auto d : {template_dialect::v2_10, template_dialect::v2_11})
        EXPECT_EQ(allowed("{{tag(team)}}.{{account-tag(plan)}}", d), (texts{"red.gold", "red.silver", "blue.gold", "blue.silver"}));
}

TEST(scope_template, inside_a_token_and_blanks_since_2_11) {
    EXPECT_EQ(allowed("KV_{{tag(env)}}.x"), texts{"KV_prod.x"});
    EXPECT_EQ(allowed("{{ name() }}"), texts{"alice"});
    EXPECT_EQ(allowed("{{name()}}-{{name()}}"), texts{"alice-alice"});
    // 2.10 sees no template and leaves the text as it is
    EXPECT_EQ(allowed("KV_{{tag(env)}}.x", old), texts{"KV_{{tag(env)}}.x"});
}

TEST(scope_template, capital_tag_function_names_another_tag_since_2_11) {
    auto c = context();
    EXPECT_EQ(allowed("x.{{TAG(team)}}", template_dialect::v2_11, c), texts{});
    EXPECT_EQ(allowed("x.{{TAG(team)}}", old, c), (texts{"x.red", "x.blue"}));
}

TEST(scope_template, unknown_functions) {
    permissions p;
    p.pub.allow = {"a.{{nope()}}", "b"};
    EXPECT_FALSE(expanded(p));
    // 2.10 drops the entry
    EXPECT_EQ(expanded(p, old)->pub.allow, texts{"b"});
    EXPECT_TRUE(denied_fails("a.{{nope()}}"));
    EXPECT_TRUE(denied_fails("a.{{nope()}}", old));
}

TEST(scope_template, missing_tags_drop_allows_and_fail_denies) {
    for (auto d : {template_dialect::v2_10, template_dialect::v2_11}) {
        permissions p;
        p.pub.allow = {"a.{{tag(none)}}", "b"};
        EXPECT_EQ(expanded(p, d)->pub.allow, texts{"b"});
        EXPECT_TRUE(denied_fails("a.{{tag(none)}}", d));
        EXPECT_EQ(allowed("{{tag(team)}}.{{tag(none)}}", d), texts{});
        EXPECT_FALSE(denied_fails("a.{{tag(team)}}", d));
    }
}

TEST(scope_template, an_emptied_allow_list_denies_everything) {
    for (auto d : {template_dialect::v2_10, template_dialect::v2_11}) {
        permissions p;
        p.pub.allow = {"a.{{tag(none)}}"};
        p.sub.allow = {"a.{{tag(none)}}"};
        p.sub.deny = {">"};
        const auto r = expanded(p, d);
        ASSERT_TRUE(r);
        EXPECT_EQ(r->pub, (subject_permission{{}, {">"}}));
        EXPECT_EQ(r->sub, (subject_permission{{}, {">"}}));
        EXPECT_EQ(expanded({}, d).value(), permissions{});
    }
}

// What an issuer must keep out of names and tags (2.13 "Injection").
TEST(scope_template, values_go_in_raw) {
    auto c = context();
    c.name = "*";
    EXPECT_EQ(allowed("app.{{name()}}", template_dialect::v2_11, c), texts{"app.*"});
    c.name = "a.>";
    EXPECT_EQ(allowed("app.{{name()}}", template_dialect::v2_11, c), texts{"app.a.>"});
    c.name = "two words";
    EXPECT_EQ(allowed("app.{{name()}}", template_dialect::v2_11, c), texts{});
    c.name = "";
    EXPECT_EQ(allowed("app.{{name()}}", template_dialect::v2_11, c), texts{});
    EXPECT_EQ(allowed("{{tag(dotted)}}.{{tag(wild)}}"), texts{"a.b.*"});
    c.name = "{{subject()}}";
    EXPECT_EQ(allowed("{{name()}}.{{subject()}}", template_dialect::v2_11, c), texts{"UABC.UABC"});
}

// The server judges every entry of a list that has a template somewhere; one with a queue is no subject.
TEST(scope_template, queue_entries_do_not_survive_beside_a_template) {
    permissions p;
    p.sub.allow = {"foo q"};
    EXPECT_EQ(expanded(p)->sub.allow, texts{"foo q"});
    p.sub.allow = {"foo q", "{{name()}}"};
    EXPECT_EQ(expanded(p)->sub.allow, texts{"alice"});
    p.sub.allow.clear();
    p.sub.deny = {"foo q", "{{name()}}"};
    EXPECT_FALSE(expanded(p));
}

TEST(scope_template, expansions_are_bounded) {
    auto c = context();
    c.user_tags.clear();
    for (int i = 0; i < 64; ++i) c.user_tags.push_back("t:" + std::to_string(i));
    permissions p;
    p.pub.allow = {"{{tag(t)}}.{{tag(t)}}"};
    // The first replacement takes both places, as on the server.
    EXPECT_EQ(expanded(p, template_dialect::v2_11, c)->pub.allow.size(), 4096u);
    p.pub.allow.push_back("{{name()}}");
    EXPECT_FALSE(expanded(p, template_dialect::v2_11, c));
    p.pub.allow = {"{{tag(t)}}.{{tag(t)}}.{{tag(t)}}.{{tag(t)}}.{{tag(t)}}.{{tag(t)}}.{{tag(t)}}.{{tag(t)}}.{{tag(t)}}.{{tag(t)}}.{{tag(t)}}.{{tag(t)}}"};
    EXPECT_FALSE(expanded(p, template_dialect::v2_11, c));
    EXPECT_FALSE(expanded(p, old, c));
}

TEST(scope_template, nested_values_cannot_blow_up) {
    auto c = context();
    c.name.clear();
    c.account_name.clear();
    for (int i = 0; i < 20000; ++i) c.name += "{{account-name()}}", c.account_name += "{{subject()}}";
    permissions p;
    p.pub.allow = {"{{name()}}.{{account-name()}}.{{subject()}}"};
    EXPECT_FALSE(expanded(p, template_dialect::v2_11, c));
}

// Token-sized input of each shape that once made the work grow with the square of its length.
TEST(scope_template, hostile_sizes_end_soon) {
    constexpr std::size_t size = 1u << 20;
    auto c = context();
    c.user_tags.clear();
    for (int i = 0; i < 100'000; ++i) c.user_tags.push_back("t:" + std::to_string(i));
    std::string many_templates, many_missing;
    while (many_templates.size() < size) many_templates += "{{name()}}.", many_missing += "{{tag(none)}}.";
    for (const auto& subject : {std::string(size, '{') + "} {{name()}}", many_templates + "x", many_missing + "x", std::string("{{tag(t)}}")}) {
        permissions p;
        p.pub.allow = {subject};
        for (auto d : {template_dialect::v2_10, template_dialect::v2_11}) {
            for (const auto& with : {c, context()}) {
                const auto r = expanded(p, d, with);
                if (r) {
                    EXPECT_LE(r->pub.allow.size(), 4096u);
                }
            }
        }
    }
    permissions p;
    p.pub.allow = {"{{tag(t)}}"};
    EXPECT_FALSE(expanded(p, template_dialect::v2_11, c));
    EXPECT_FALSE(expanded(p, old, c));
}

TEST(scope_template, odd_braces) {
    EXPECT_EQ(allowed("a.{{}}"), texts{"a.{{}}"});
    EXPECT_EQ(allowed("a.{{name()"), texts{"a.{{name()"});
    EXPECT_EQ(allowed("a.{{name()}"), texts{"a.{{name()}"});
    permissions p;
    p.pub.allow = {"a.{{{name()}}"};
    EXPECT_FALSE(expanded(p));
}

TEST(scope_template, response_permission_is_kept) {
    permissions p;
    p.resp = response_permission{3, 4};
    EXPECT_EQ(expanded(p)->resp, p.resp);
}
