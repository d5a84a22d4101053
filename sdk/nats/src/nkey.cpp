// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/nkey.hpp>

#include <callgate/crypto/box.hpp>
#include <callgate/crypto/random.hpp>

#include <algorithm>
#include <optional>

namespace callgate::nats {
namespace {

constexpr std::size_t key_size = 32;
constexpr std::size_t public_raw_size = 1 + key_size + 2;
constexpr std::size_t seed_raw_size = 2 + key_size + 2;
constexpr std::uint8_t seed_prefix = 18 << 3;

constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::uint8_t no_digit = 0xff;
constexpr auto digits = [] {
    std::array<std::uint8_t, 256> t{};
    t.fill(no_digit);
    for (std::uint8_t i = 0; i < 32; ++i) t[static_cast<unsigned char>(alphabet[i])] = i;
    return t;
}();

constexpr auto crc_table = [] {
    std::array<std::uint16_t, 256> t{};
    for (unsigned i = 0; i < 256; ++i) {
        unsigned crc = i << 8;
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1;
        t[i] = static_cast<std::uint16_t>(crc);
    }
    return t;
}();

constexpr std::size_t base32_chars(std::size_t bytes) { return (bytes * 8 + 4) / 5; }
static_assert(base32_chars(public_raw_size) == public_key_chars && base32_chars(seed_raw_size) == seed_chars);

void write_base32(std::span<const std::uint8_t> in, char* out) noexcept {
    std::uint32_t held = 0;
    unsigned bits = 0;
    for (auto byte : in) {
        held = held << 8 | byte;
        for (bits += 8; bits >= 5; bits -= 5) *out++ = alphabet[held >> (bits - 5) & 31];
    }
    if (bits != 0) *out = alphabet[held << (5 - bits) & 31];
}

// Writes in.size() * 5 / 8 bytes. False: a character outside the alphabet, a length no encoder writes, or
// set trailing bits (a second spelling of the same bytes).
bool read_base32(std::string_view in, std::uint8_t* out) noexcept {
    std::uint32_t held = 0;
    unsigned bits = 0, bad = 0;
    for (char c : in) {
        const auto digit = digits[static_cast<unsigned char>(c)];
        bad |= digit & 0xe0u;
        held = held << 5 | (digit & 31u);
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            *out++ = static_cast<std::uint8_t>(held >> bits);
        }
    }
    return bad == 0 && bits < 5 && (held & ((1u << bits) - 1)) == 0;
}

bool checksum_fits(std::span<const std::uint8_t> raw) noexcept {
    const auto crc = crc16_xmodem(raw.first(raw.size() - 2));
    return raw[raw.size() - 2] == (crc & 0xff) && raw[raw.size() - 1] == crc >> 8;
}
void write_checksum(std::span<std::uint8_t> raw) noexcept {
    const auto crc = crc16_xmodem(raw.first(raw.size() - 2));
    raw[raw.size() - 2] = static_cast<std::uint8_t>(crc);
    raw[raw.size() - 1] = static_cast<std::uint8_t>(crc >> 8);
}

constexpr bool is_public_type(std::uint8_t prefix) noexcept {
    switch (static_cast<key_type>(prefix)) {
        case key_type::operator_:
        case key_type::account:
        case key_type::user:
        case key_type::server:
        case key_type::cluster:
        case key_type::curve: return true;
    }
    return false;
}

// The error of a public key, or the key: without text, so that is_public need not allocate.
struct read_public {
    std::optional<errc> failure;
    public_key key;
};
read_public read(std::string_view text) noexcept {
    read_public r;
    std::array<std::uint8_t, public_raw_size> raw;
    if (text.size() != public_key_chars || !read_base32(text, raw.data())) {
        r.failure = errc::bad_encoding;
    } else if (!checksum_fits(raw)) {
        r.failure = errc::bad_checksum;
    } else if (!is_public_type(raw[0])) {
        r.failure = errc::bad_prefix;
    } else {
        r.key.type = static_cast<key_type>(raw[0]);
        std::copy_n(raw.begin() + 1, key_size, r.key.bytes.begin());
    }
    return r;
}

std::span<const std::uint8_t> bytes_of(std::string_view s) noexcept {
    return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

// A seed put where a public key belongs must not reach a log through an error text.
std::string quoted(std::string_view text) {
    if (text.size() > 64 || text.starts_with('S') || text.starts_with('P')) return std::to_string(text.size()) + " characters";
    std::string out = "\"";
    for (char c : text) out += c >= 0x20 && c < 0x7f && c != '"' ? c : '?';
    return out + '"';
}

}  // namespace

std::string_view to_string(key_type t) noexcept {
    switch (t) {
        case key_type::operator_: return "operator";
        case key_type::account: return "account";
        case key_type::user: return "user";
        case key_type::server: return "server";
        case key_type::cluster: return "cluster";
        case key_type::curve: return "curve";
    }
    return "unknown";
}

char letter(key_type t) noexcept { return alphabet[static_cast<std::uint8_t>(t) >> 3]; }

std::uint16_t crc16_xmodem(std::span<const std::uint8_t> in) noexcept {
    unsigned crc = 0;
    for (auto byte : in) crc = (crc << 8 & 0xffff) ^ crc_table[(crc >> 8 ^ byte) & 0xff];
    return static_cast<std::uint16_t>(crc);
}

std::string base32_encode(std::span<const std::uint8_t> in) {
    std::string out(base32_chars(in.size()), '\0');
    write_base32(in, out.data());
    return out;
}

result<std::vector<std::uint8_t>> base32_decode(std::string_view in) {
    std::vector<std::uint8_t> out(in.size() * 5 / 8);
    if (!read_base32(in, out.data()))
        return error{errc::bad_encoding, "not canonical base32: upper case A-Z and 2-7 without padding, white space or set trailing bits"};
    return out;
}

void encode_public(key_type type, std::span<const std::uint8_t, 32> key, char* out) noexcept {
    std::array<std::uint8_t, public_raw_size> raw;
    raw[0] = static_cast<std::uint8_t>(type);
    std::ranges::copy(key, raw.begin() + 1);
    write_checksum(raw);
    write_base32(raw, out);
}

std::string encode_public(const public_key& key) {
    std::string out(public_key_chars, '\0');
    encode_public(key.type, key.bytes, out.data());
    return out;
}

result<public_key> decode_public(std::string_view text) {
    const auto r = read(text);
    if (!r.failure) return r.key;
    switch (*r.failure) {
        case errc::bad_checksum: return error{errc::bad_checksum, "public nkey " + quoted(text) + " has a wrong checksum: mistyped or cut"};
        case errc::bad_prefix: return error{errc::bad_prefix, "public nkey " + quoted(text) + " is of no known kind (O, A, U, N, C or X)"};
        default: return error{errc::bad_encoding, "public nkey " + quoted(text) + " is not 56 characters of upper-case base32"};
    }
}

result<public_key> decode_public(std::string_view text, key_type expected) {
    auto key = decode_public(text);
    if (key && key->type != expected)
        return error{errc::bad_prefix, "nkey " + quoted(text) + " is of kind " + std::string(to_string(key->type)) + ", expected " +
                                           std::string(to_string(expected)) + " (" + letter(expected) + "...)"};
    return key;
}

bool is_public(std::string_view text, key_type expected) noexcept {
    const auto r = read(text);
    return !r.failure && r.key.type == expected;
}

result<key_pair> key_pair::from_seed(std::string_view text) {
    if (text.size() != seed_chars)
        return error{errc::bad_seed, "seed has " + std::to_string(text.size()) + " characters, not 58"};
    crypto::secret raw(seed_raw_size);
    if (!read_base32(text, raw.data())) return error{errc::bad_seed, "seed is not upper-case base32"};
    if (!checksum_fits(raw.bytes())) return error{errc::bad_checksum, "seed has a wrong checksum: mistyped or cut"};
    const auto b1 = raw.bytes()[0], b2 = raw.bytes()[1];
    const auto type = static_cast<std::uint8_t>((b1 & 7) << 5 | b2 >> 3);
    if ((b1 & 0xf8) != seed_prefix || (b2 & 7) != 0 || !is_public_type(type))
        return error{errc::bad_prefix, "not a seed of a known kind (SO, SA, SU, SN, SC or SX)"};
    return from_raw_seed(static_cast<key_type>(type), raw.bytes().subspan(2, key_size));
}

result<key_pair> key_pair::from_raw_seed(key_type type, std::span<const std::uint8_t> seed32) {
    if (seed32.size() != key_size) return error{errc::bad_seed, "raw seed has " + std::to_string(seed32.size()) + " bytes, not 32"};
    if (!is_public_type(static_cast<std::uint8_t>(type))) return error{errc::bad_prefix, "seed of an unknown key kind"};
    key_pair pair;
    pair.public_.type = type;
    if (type == key_type::curve) {
        pair.scalar_ = crypto::secret::copy_of(seed32);
        pair.public_.bytes = crypto::curve_public(seed32.first<key_size>());
    } else {
        pair.signer_ = crypto::signing_key::from_seed(seed32);
        pair.public_.bytes = pair.signer_.public_key();
    }
    pair.text_ = encode_public(pair.public_);
    return pair;
}

key_pair key_pair::generate(key_type type) {
    crypto::secret seed(key_size);
    crypto::random_bytes({seed.data(), seed.size()});
    return std::move(from_raw_seed(type, seed.bytes()).value());
}

crypto::secret key_pair::seed_text() const {
    const auto prefix = static_cast<std::uint8_t>(public_.type);
    crypto::secret raw(seed_raw_size);
    raw.data()[0] = static_cast<std::uint8_t>(seed_prefix | prefix >> 5);
    raw.data()[1] = static_cast<std::uint8_t>((prefix & 31) << 3);
    std::ranges::copy(raw_seed(), raw.data() + 2);
    write_checksum({raw.data(), raw.size()});
    crypto::secret text(seed_chars);
    write_base32(raw.bytes(), reinterpret_cast<char*>(text.data()));
    return text;
}

std::span<const std::uint8_t> key_pair::raw_seed() const noexcept {
    return public_.type == key_type::curve ? scalar_.bytes() : signer_.seed();
}

result<crypto::signature_bytes> key_pair::sign(std::string_view message) const {
    if (public_.type == key_type::curve) return error{errc::not_a_signer, "curve key " + text_ + " cannot sign"};
    crypto::signature_bytes signature;
    signer_.sign(bytes_of(message), signature);
    return signature;
}

namespace {
result<crypto::secret> agree_with(const key_pair& own, std::string_view peer, const char* role) {
    if (own.type() != key_type::curve)
        return error{errc::not_a_signer, std::string(to_string(own.type())) + " key " + own.public_text() + " cannot seal or open: that needs a curve key (X...)"};
    auto key = decode_public(peer, key_type::curve);
    if (!key) return error{key.error().code, std::string(role) + ": " + key.error().text};
    auto shared = crypto::agree(own.raw_seed().first<key_size>(), key->bytes);
    if (!shared) return error{errc::bad_prefix, std::string(role) + " " + std::string(peer) + " is a key of low order: refused"};
    return std::move(*shared);
}
}  // namespace

result<std::string> key_pair::seal(std::string_view message, std::string_view recipient_xkey) const {
    auto shared = agree_with(*this, recipient_xkey, "recipient");
    if (!shared) return shared.error();
    std::string sealed(message.size() + crypto::xkv1_overhead, '\0');
    crypto::seal(bytes_of(message), shared->bytes(), reinterpret_cast<std::uint8_t*>(sealed.data()));
    return sealed;
}

result<std::string> key_pair::open(std::string_view sealed, std::string_view sender_xkey) const {
    auto shared = agree_with(*this, sender_xkey, "sender");
    if (!shared) return shared.error();
    if (!crypto::looks_sealed(bytes_of(sealed)) || sealed.size() < crypto::xkv1_overhead)
        return error{errc::cannot_open, "sealed message is too short or not of version xkv1"};
    std::string plain(sealed.size() - crypto::xkv1_overhead, '\0');
    if (!crypto::open(bytes_of(sealed), shared->bytes(), reinterpret_cast<std::uint8_t*>(plain.data())))
        return error{errc::cannot_open, "message does not open: other sender, other recipient, or changed on the way"};
    return plain;
}

result<void> verify(std::string_view public_text, std::string_view message, std::span<const std::uint8_t> signature) {
    auto key = decode_public(public_text);
    if (!key) return key.error();
    if (key->type == key_type::curve) return error{errc::not_a_signer, "curve key " + std::string(public_text) + " signs nothing"};
    if (signature.size() != std::tuple_size_v<crypto::signature_bytes>)
        return error{errc::bad_signature, "signature has " + std::to_string(signature.size()) + " bytes, not 64"};
    if (!crypto::verify_any(bytes_of(message), signature.first<64>(), key->bytes))
        return error{errc::bad_signature, "signature is not of " + std::string(public_text)};
    return {};
}

}  // namespace callgate::nats
