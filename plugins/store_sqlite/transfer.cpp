// SPDX-License-Identifier: Apache-2.0
// Snapshots in the form that all claim stores share (abi/draft/claim_store.h).
#include <cerrno>
#include <cstring>
#include <sodium.h>
#include <unistd.h>

#include "plugins/store_sqlite/claims.hpp"

namespace callgate::store_sqlite {
namespace {

constexpr std::string_view magic = CG_CLAIM_SNAPSHOT_MAGIC;
constexpr std::size_t buffer_bytes = 256 * 1024;
constexpr std::size_t digest_bytes = 32;

class hashing {
  public:
    hashing() { crypto_hash_sha256_init(&state_); }
    void add(std::string_view part) { crypto_hash_sha256_update(&state_, reinterpret_cast<const unsigned char*>(part.data()), part.size()); }
    std::string finish() {
        std::string out(digest_bytes, '\0');
        crypto_hash_sha256_final(&state_, reinterpret_cast<unsigned char*>(out.data()));
        return out;
    }

  private:
    crypto_hash_sha256_state state_;
};

class writer {
  public:
    explicit writer(int fd) : fd_(fd) {}
    void bytes(std::string_view part) {
        hash_.add(part);
        raw(part);
    }
    void number(std::uint64_t n, int size) {
        char out[8];
        for (int i = 0; i < size; ++i) out[i] = static_cast<char>(n >> (8 * i));
        bytes({out, static_cast<std::size_t>(size)});
    }
    std::uint64_t finish() {
        raw(hash_.finish());
        flush();
        return written_;
    }

  private:
    void raw(std::string_view part) {
        buffer_ += part;
        if (buffer_.size() >= buffer_bytes) flush();
    }
    void flush() {
        for (std::string_view left = buffer_; !left.empty();) {
            const auto n = ::write(fd_, left.data(), left.size());
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) throw sdk::status_error(CG_E_UNAVAILABLE, std::string("cannot write the snapshot: ") + std::strerror(errno));
            left.remove_prefix(static_cast<std::size_t>(n));
            written_ += static_cast<std::size_t>(n);
        }
        buffer_.clear();
    }
    int fd_;
    hashing hash_;
    std::string buffer_;
    std::uint64_t written_ = 0;
};

class reader {
  public:
    explicit reader(int fd) : fd_(fd) {}
    std::string bytes(std::size_t size) {
        auto out = raw(size);
        hash_.add(out);
        return out;
    }
    std::uint64_t number(int size) {
        const auto in = bytes(static_cast<std::size_t>(size));
        std::uint64_t n = 0;
        for (int i = 0; i < size; ++i) n |= std::uint64_t{static_cast<unsigned char>(in[static_cast<std::size_t>(i)])} << (8 * i);
        return n;
    }
    std::uint64_t finish() {
        const auto expected = hash_.finish();
        if (raw(digest_bytes) != expected) broken("its checksum does not fit its content");
        if (fill()) broken("something follows its end");
        return read_;
    }
    [[noreturn]] void broken(const std::string& why) const {
        throw sdk::status_error(CG_E_INVALID, "the snapshot cannot be used: " + why + "; nothing was changed");
    }

  private:
    bool fill() {
        if (at_ < buffer_.size()) return true;
        buffer_.resize(buffer_bytes);
        ssize_t n = 0;
        do n = ::read(fd_, buffer_.data(), buffer_.size());
        while (n < 0 && errno == EINTR);
        if (n < 0) throw sdk::status_error(CG_E_UNAVAILABLE, std::string("cannot read the snapshot: ") + std::strerror(errno));
        buffer_.resize(static_cast<std::size_t>(n));
        at_ = 0;
        return n != 0;
    }
    std::string raw(std::size_t size) {
        std::string out;
        while (out.size() < size) {
            if (!fill()) broken("it ends early, after " + std::to_string(read_) + " bytes");
            const auto n = std::min(size - out.size(), buffer_.size() - at_);
            out.append(buffer_, at_, n);
            at_ += n;
            read_ += n;
        }
        return out;
    }
    int fd_;
    hashing hash_;
    std::string buffer_;
    std::size_t at_ = 0;
    std::uint64_t read_ = 0;
};

}  // namespace

transferred claims::snapshot(int fd) {
    transaction t(db_, transaction::kind::read);
    transferred out;
    out.revision = read_heads().revision;
    writer to(fd);
    to.bytes(magic);
    to.number(out.revision, 8);
    statement all(db_, "SELECT key, value, revision FROM claim ORDER BY key");
    for (; all.step(); ++out.entries) {
        to.number(all.text(0).size(), 4);
        to.number(all.blob(1).size(), 4);
        to.number(all.number(2), 8);
        to.bytes(all.text(0));
        to.bytes(all.blob(1));
    }
    to.number(0, 4);
    to.number(out.entries, 8);
    out.bytes = to.finish();
    return out;
}

transferred claims::restore(int fd, bool replace, const cg_claim_limits& limits) {
    const auto now = read_heads();
    if (!replace && db_.query_number("SELECT count(*) FROM (SELECT 1 FROM claim LIMIT 1)") != 0)
        throw sdk::status_error(CG_E_INVALID, "the store is not empty; say that its content is to be replaced", options_.file);
    reader from(fd);
    if (from.bytes(magic.size()) != magic) from.broken("it does not begin as a snapshot of claims");
    const auto theirs = from.number(8);
    if (theirs >= static_cast<std::uint64_t>(INT64_MAX)) from.broken("its revision is out of range");
    transferred out;
    out.revision = std::max(now.revision, theirs) + 1;
    db_.execute("DELETE FROM claim; DELETE FROM change; DELETE FROM token;");
    std::string last;
    for (;; ++out.entries) {
        const auto key_size = from.number(4);
        if (key_size == 0) break;
        const auto value_size = from.number(4);
        (void)from.number(8);
        if (key_size > CG_CLAIM_MAX_KEY_BYTES || value_size > limits.max_value_bytes) from.broken("entry " + std::to_string(out.entries) + " is larger than this store takes");
        const auto key = from.bytes(key_size);
        if (const auto fault = sdk::claim_key_fault(key); !fault.empty()) from.broken("the key of entry " + std::to_string(out.entries) + " " + std::string(fault));
        if (key <= last) from.broken("its keys are not in order at entry " + std::to_string(out.entries));
        const auto value = from.bytes(value_size);
        put_.bind(1, key).bind_blob(2, value).bind(3, out.revision).run();
        last = key;
    }
    if (from.number(8) != out.entries) from.broken("its number of entries is wrong");
    out.bytes = from.finish();
    statement(db_, "UPDATE head SET revision = ?1, compacted = ?1").bind(1, out.revision).run();
    return out;
}

}  // namespace callgate::store_sqlite
