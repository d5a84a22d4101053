// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/nkey.hpp>

#include <callgate/crypto/box.hpp>
#include <callgate/crypto/secret.hpp>

#include <set>

#include "sdk/nats/test/test_keys.hpp"

using namespace callgate::nats;
namespace crypto = callgate::crypto;
using namespace callgate::nats::test;

namespace {
constexpr key_type all_types[] = {key_type::operator_, key_type::account, key_type::user, key_type::server, key_type::cluster, key_type::curve};

std::span<const std::uint8_t> bytes_of(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

// Prefixes and payload with a right checksum.
std::string with_checksum(std::vector<std::uint8_t> raw) {
    const auto crc = crc16_xmodem(raw);
    raw.push_back(static_cast<std::uint8_t>(crc));
    raw.push_back(static_cast<std::uint8_t>(crc >> 8));
    return base32_encode(raw);
}
std::vector<std::uint8_t> prefixed(std::uint8_t prefix, std::size_t payload) {
    std::vector<std::uint8_t> raw{prefix};
    raw.resize(1 + payload, 7);
    return raw;
}
}  // namespace

TEST(nkey, crc_check_value) { EXPECT_EQ(crc16_xmodem(bytes_of("123456789")), 0x31C3); }

// protocol.md 7. The seed texts stand in two pieces so that a search for seeds in the repository finds
// only what should not be there.
TEST(nkey, vectors_of_the_counting_seed) {
    const std::tuple<key_type, std::string, std::string> cases[] = {
        {key_type::operator_, "SOAA" "AAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H2AJA", "OAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QZVT"},
        {key_type::account, "SAAA" "AAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4HYMHI", "AAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QPZV"},
        {key_type::user, "SUAA" "AAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y", "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK"},
        {key_type::server, "SNAA" "AAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H2D5U", "NAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RSWB"},
        {key_type::cluster, "SCAA" "AAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4HYO7Q", "CAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3R53J"},
        {key_type::curve, "SXAA" "AAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H74KM", "XCHUBRNNW2HSKYSK4WZBJ2TWPJXMSTMCTU6XWXQ22G5G6PRBHAUF76G7"}};
    for (const auto& [type, seed, text] : cases) {
        const auto key = counting_key(type);
        EXPECT_EQ(key.seed_text().text(), seed);
        EXPECT_EQ(key.public_text(), text);
        const auto read = key_pair::from_seed(seed);
        ASSERT_TRUE(read);
        EXPECT_EQ(read->type(), type);
        EXPECT_EQ(read->public_text(), text);
        EXPECT_TRUE(is_public(text, type));
        EXPECT_EQ(text[0], letter(type));
        EXPECT_EQ(seed[1], letter(type));
    }
}

// protocol.md 7 and the vectors of published deployments' documents: seed -> public key
TEST(nkey, published_seed_vectors) {
    const std::pair<const char*, const char*> cases[] = {
        {"SUAP" "277QP7U4JMFFPVZHLJYEQJ2UHOTYVEIZJYAWRJXQLP4FRSEHYZJJOU", "UBO2MQV67TQTVIRV3XFTEZOACM4WLOCMCDMAWN5QVN5PI2N6JHTVDRON"},
        {"SAAN" "DLKMXL6CUS3CP52WIXBEDN6YJ545GDKC65U5JZPPV6WH6ESWUA6YAI", "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA"},
        {"SXAA" "XMRAEP6JWWHNB6IKFL554IE6LZVT6EY5MBRICPILTLOPHAG73I3YX4", "XAB3NANV3M6N7AHSQP2U5FRWKKUT7EG2ZXXABV4XVXYQRJGM4S2CZGHT"},
        {"SOAE" "4GW4K7BYO2327I3GE2ZQILOTNGV4QEOC4DYFKN6UG6E5BZIAIIMRNA", "OBBMNDXWHOYLA5CMH47QKAKLEIHKGIZBXIH63WSPHPDHDSAQI7SBGITC"},
        {"SOAP" "QQCSOBMMSSZS4NFAQ4BLXSTAMMD5E3XOG547VPEHKPTM6YFPX2YM7Y", "OADCCYB6VSDLBRWHFAITYPCCLXYSCVAEJG546B7UBLHZTJXYW3IUWDGJ"},
        {"SAAC" "ZEZRPNTFT2NKAB726KSNVOAUEMY5PFMBPK27GDXC7CCNLRHU3S77UM", "ABT6QBISNJWXEW5QGCSWV6WWYZWOXEHU6G54XPA44ANTXO7EHXTIH6NI"},
        {"SAAL" "MQV2WCX4XF2GZCUCSS2NIF5KD7CFMNLN27N6IWKIEJKOL5Y7NYB57M", "AAAAKEVGK3YQSLEEYDHHD36ETWKWAZZHWFFDDIZW3FINAVWYCHOEXW6A"}};
    for (const auto& [seed, text] : cases) {
        const auto key = key_pair::from_seed(seed);
        ASSERT_TRUE(key) << text;
        EXPECT_EQ(key->public_text(), text);
        EXPECT_EQ(key->seed_text().text(), seed);
    }
}

TEST(nkey, generated_keys_of_each_type_round_trip) {
    for (auto type : all_types) {
        const auto key = key_pair::generate(type);
        const auto back = key_pair::from_seed(key.seed_text().text());
        ASSERT_TRUE(back);
        EXPECT_EQ(back->public_part(), key.public_part());
        EXPECT_TRUE(std::ranges::equal(back->raw_seed(), key.raw_seed()));
        const auto pub = decode_public(key.public_text());
        ASSERT_TRUE(pub);
        EXPECT_EQ(*pub, key.public_part());
        EXPECT_EQ(encode_public(*pub), key.public_text());
    }
    std::set<std::string> distinct;
    for (int i = 0; i < 20; ++i) distinct.insert(fresh_public(key_type::user));
    EXPECT_EQ(distinct.size(), 20u);
}

TEST(nkey, decode_public_wants_the_expected_kind) {
    for (auto have : all_types)
        for (auto want : all_types) {
            const auto text = counting_key(have).public_text();
            const auto r = decode_public(text, want);
            EXPECT_EQ(r.has_value(), have == want);
            EXPECT_EQ(is_public(text, want), have == want);
            if (have != want) {
                EXPECT_EQ(r.error().code, errc::bad_prefix);
            }
        }
}

TEST(nkey, each_changed_character_is_refused) {
    const std::string text(upstream_user);
    for (std::size_t i = 0; i < text.size(); ++i)
        for (char c : {'A', 'B', '7', 'a', '0', '1', '8', '=', ' ', '\n', '\0'}) {
            auto changed = text;
            changed[i] = c;
            if (changed == text) continue;
            EXPECT_FALSE(decode_public(changed)) << changed;
            EXPECT_FALSE(is_public(changed, key_type::user));
        }
}

TEST(nkey, wrong_checksum_and_wrong_base32_are_told_apart) {
    std::string text(upstream_user);
    text[20] = text[20] == 'A' ? 'B' : 'A';
    EXPECT_EQ(decode_public(text).error().code, errc::bad_checksum);
    text[20] = '!';
    EXPECT_EQ(decode_public(text).error().code, errc::bad_encoding);
}

TEST(nkey, other_lengths_are_refused_although_their_checksum_fits) {
    const auto prefix = static_cast<std::uint8_t>(key_type::account);
    for (std::size_t payload : {0u, 1u, 31u, 33u, 64u}) EXPECT_FALSE(decode_public(with_checksum(prefixed(prefix, payload)))) << payload;
    EXPECT_TRUE(decode_public(with_checksum(prefixed(prefix, 32))));
    EXPECT_FALSE(decode_public(""));
}

TEST(nkey, prefixes_that_are_no_public_kind_are_refused) {
    for (int prefix = 0; prefix < 256; ++prefix) {
        const auto r = decode_public(with_checksum(prefixed(static_cast<std::uint8_t>(prefix), 32)));
        const bool known = std::ranges::any_of(all_types, [&](key_type t) { return static_cast<int>(t) == prefix; });
        EXPECT_EQ(r.has_value(), known) << prefix;
        if (!known) {
            EXPECT_EQ(r.error().code, errc::bad_prefix);
        }
    }
}

TEST(nkey, seeds_are_checked) {
    const auto good = counting_key(key_type::user);
    const auto seed = good.seed_text();
    const std::string text(seed.text());
    EXPECT_FALSE(key_pair::from_seed(""));
    EXPECT_FALSE(key_pair::from_seed(text.substr(0, 57)));
    EXPECT_FALSE(key_pair::from_seed(text + "A"));
    EXPECT_FALSE(key_pair::from_seed(text + "\n"));
    EXPECT_FALSE(key_pair::from_seed(good.public_text() + "AA"));
    auto changed = text;
    changed[30] = changed[30] == 'A' ? 'B' : 'A';
    EXPECT_EQ(key_pair::from_seed(changed).error().code, errc::bad_checksum);
    changed[30] = 'a';
    EXPECT_EQ(key_pair::from_seed(changed).error().code, errc::bad_seed);
}

TEST(nkey, seeds_of_unknown_kinds_are_refused) {
    for (int b1 = 0; b1 < 256; ++b1)
        for (int b2 : {0, 1, 8, 0x38, 0x70, 0xa0, 0xf8}) {
            std::vector<std::uint8_t> raw{static_cast<std::uint8_t>(b1), static_cast<std::uint8_t>(b2)};
            raw.resize(34, 9);
            const auto type = (b1 & 7) << 5 | b2 >> 3;
            const bool known = (b1 & 0xf8) == 0x90 && (b2 & 7) == 0 && std::ranges::any_of(all_types, [&](key_type t) { return static_cast<int>(t) == type; });
            EXPECT_EQ(key_pair::from_seed(with_checksum(raw)).has_value(), known) << b1 << " " << b2;
        }
}

// The last character of a seed carries two bits that belong to nothing.
TEST(nkey, second_spelling_of_a_seed_is_refused) {
    const auto seed = counting_key(key_type::user).seed_text();
    const std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const auto last = alphabet.find(seed.text().back());
    ASSERT_EQ(last % 4, 0u);
    for (std::size_t extra : {1u, 2u, 3u}) {
        std::string other(seed.text());
        other.back() = alphabet[last + extra];
        EXPECT_FALSE(key_pair::from_seed(other));
    }
}

TEST(nkey, raw_seeds_have_32_bytes) {
    const std::array<std::uint8_t, 33> raw{};
    EXPECT_FALSE(key_pair::from_raw_seed(key_type::user, std::span{raw}.first(31)));
    EXPECT_FALSE(key_pair::from_raw_seed(key_type::user, raw));
    EXPECT_FALSE(key_pair::from_raw_seed(static_cast<key_type>(1), std::span{raw}.first(32)));
    EXPECT_TRUE(key_pair::from_raw_seed(key_type::user, std::span{raw}.first(32)));
}

TEST(nkey, signatures_verify_and_tampering_shows) {
    for (auto type : all_types) {
        const auto key = key_pair::generate(type);
        const auto sig = key.sign("message");
        if (type == key_type::curve) {
            ASSERT_FALSE(sig);
            EXPECT_EQ(sig.error().code, errc::not_a_signer);
            continue;
        }
        ASSERT_TRUE(sig);
        EXPECT_TRUE(verify(key.public_text(), "message", *sig));
        EXPECT_EQ(verify(key.public_text(), "massage", *sig).error().code, errc::bad_signature);
        EXPECT_EQ(verify(fresh_public(type), "message", *sig).error().code, errc::bad_signature);
        EXPECT_EQ(verify(key.public_text(), "message", std::span{*sig}.first(63)).error().code, errc::bad_signature);
    }
    const crypto::signature_bytes none{};
    EXPECT_EQ(verify(counting_key(key_type::curve).public_text(), "message", none).error().code, errc::not_a_signer);
    EXPECT_EQ(verify("nonsense", "message", none).error().code, errc::bad_encoding);
}

// protocol.md 7: sender is the published curve key, recipient the curve key of the counting seed
TEST(xkey, sealed_vector) {
    const auto recipient = counting_key(key_type::curve);
    const auto sender = key_pair::from_seed("SXAA" "XMRAEP6JWWHNB6IKFL554IE6LZVT6EY5MBRICPILTLOPHAG73I3YX4");
    ASSERT_TRUE(sender);
    std::array<std::uint8_t, 24> nonce;
    for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::uint8_t>(i);
    const auto shared = crypto::agree(sender->raw_seed().first<32>(), recipient.public_part().bytes);
    ASSERT_TRUE(shared);
    std::string sealed(12 + crypto::xkv1_overhead, '\0');
    crypto::seal_with_nonce(bytes_of("Hello xkeys!"), shared->bytes(), nonce, reinterpret_cast<std::uint8_t*>(sealed.data()));
    std::string hex;
    for (unsigned char c : sealed) hex += {"0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};
    EXPECT_EQ(hex, "786b7631000102030405060708090a0b0c0d0e0f1011121314151617249465b928d589d809e2aa7f726b1de3084ef323533fd6066a14c35c");
    EXPECT_EQ(recipient.open(sealed, sender->public_text()).value(), "Hello xkeys!");
}

TEST(xkey, seal_and_open) {
    const auto a = key_pair::generate(key_type::curve), b = key_pair::generate(key_type::curve), c = key_pair::generate(key_type::curve);
    const auto sealed = a.seal("hello", b.public_text());
    ASSERT_TRUE(sealed);
    EXPECT_TRUE(sealed->starts_with("xkv1"));
    EXPECT_EQ(sealed->size(), 5 + crypto::xkv1_overhead);
    EXPECT_EQ(b.open(*sealed, a.public_text()).value(), "hello");
    EXPECT_EQ(b.open(*sealed, c.public_text()).error().code, errc::cannot_open);
    EXPECT_EQ(c.open(*sealed, a.public_text()).error().code, errc::cannot_open);
    EXPECT_EQ(b.open("xkv2" + sealed->substr(4), a.public_text()).error().code, errc::cannot_open);
    EXPECT_EQ(b.open(sealed->substr(0, 43), a.public_text()).error().code, errc::cannot_open);
    EXPECT_EQ(b.open("", a.public_text()).error().code, errc::cannot_open);
    EXPECT_EQ(b.open(a.seal("", b.public_text()).value(), a.public_text()).value(), "");
}

TEST(xkey, other_kinds_neither_seal_nor_open) {
    const auto curve = key_pair::generate(key_type::curve), user = key_pair::generate(key_type::user);
    EXPECT_EQ(user.seal("x", curve.public_text()).error().code, errc::not_a_signer);
    EXPECT_EQ(user.open("x", curve.public_text()).error().code, errc::not_a_signer);
    EXPECT_EQ(curve.seal("x", user.public_text()).error().code, errc::bad_prefix);
    EXPECT_EQ(curve.open("x", user.public_text()).error().code, errc::bad_prefix);
    EXPECT_EQ(curve.seal("x", "junk").error().code, errc::bad_encoding);
}

TEST(xkey, the_all_zero_key_is_refused) {
    const auto curve = key_pair::generate(key_type::curve);
    const auto zero = encode_public({key_type::curve, {}});
    EXPECT_EQ(curve.seal("x", zero).error().code, errc::bad_prefix);
    EXPECT_EQ(curve.open(curve.seal("x", curve.public_text()).value(), zero).error().code, errc::bad_prefix);
}

TEST(nkey, error_texts_never_quote_a_seed) {
    const auto seed = counting_key(key_type::user).seed_text();
    const std::string text(seed.text());
    for (const auto& e : {decode_public(text).error(), decode_public(text.substr(0, 56)).error(), key_pair::from_seed(text + "x").error(),
                          verify(text, "m", {}).error(), decode_public(text.substr(0, 56), key_type::user).error()})
        EXPECT_EQ(e.text.find(text.substr(2, 8)), std::string::npos) << e.text;
}

TEST(base32, round_trips_each_length_and_is_canonical) {
    for (std::size_t n = 0; n < 20; ++n) {
        const std::vector<std::uint8_t> bytes(n, 0xa5);
        const auto text = base32_encode(bytes);
        EXPECT_EQ(base32_decode(text).value(), bytes);
        EXPECT_FALSE(base32_decode(text + "="));
    }
    EXPECT_EQ(base32_encode(bytes_of("foobar")), "MZXW6YTBOI");
    for (const char* bad : {"A", "AAA", "AAAAAA", "AB", "mz", "M1", "MZ ", "MZ\n"}) EXPECT_FALSE(base32_decode(bad)) << bad;
}
