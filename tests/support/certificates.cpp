// SPDX-License-Identifier: Apache-2.0
#include "tests/support/certificates.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstring>
#include <stdexcept>

namespace callgate::test {
namespace {

template <auto Free>
struct freed_by {
    template <class T>
    void operator()(T* p) const noexcept { Free(p); }
};
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using cert_ptr = std::unique_ptr<X509, freed_by<X509_free>>;
using bio_ptr = std::unique_ptr<BIO, freed_by<BIO_free_all>>;

void require(bool ok, const char* what) {
    if (!ok) throw std::runtime_error(std::string("OpenSSL: ") + what);
}

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const auto size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

void extend(X509* cert, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
    auto* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    require(extension != nullptr, "extension");
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

cert_ptr make(const std::string& name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key, const std::string& alt_names, bool expired) {
    cert_ptr cert(X509_new());
    X509_set_version(cert.get(), 2);
    std::uint64_t serial = 0;
    require(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1, "random serial");
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert.get()), serial >> 1);
    X509_gmtime_adj(X509_getm_notBefore(cert.get()), expired ? -7200 : -60);
    X509_gmtime_adj(X509_getm_notAfter(cert.get()), expired ? -3600 : 86400);
    X509_set_pubkey(cert.get(), key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(cert.get(), X509_get_subject_name(issuer ? issuer : cert.get()));
    auto* signer = issuer ? issuer : cert.get();
    if (!issuer) {
        extend(cert.get(), signer, NID_basic_constraints, "critical,CA:TRUE");
        extend(cert.get(), signer, NID_key_usage, "critical,keyCertSign,cRLSign");
    } else {
        extend(cert.get(), signer, NID_ext_key_usage, "serverAuth,clientAuth");
        if (!alt_names.empty()) extend(cert.get(), signer, NID_subject_alt_name, alt_names);
    }
    require(X509_sign(cert.get(), issuer_key, EVP_sha256()) > 0, "sign certificate");
    return cert;
}

std::string pem(X509* cert) {
    bio_ptr bio(BIO_new(BIO_s_mem()));
    require(PEM_write_bio_X509(bio.get(), cert) == 1, "write certificate");
    return text_of(bio.get());
}

}  // namespace

struct certificate_authority::key_and_cert {
    key_ptr key;
    cert_ptr cert;
};

certificate_authority::certificate_authority(const std::string& common_name) : self_(std::make_unique<key_and_cert>()) {
    self_->key.reset(EVP_EC_gen("P-256"));
    require(self_->key != nullptr, "key");
    self_->cert = make(common_name, self_->key.get(), nullptr, self_->key.get(), {}, false);
    cert_pem_ = pem(self_->cert.get());
}
certificate_authority::~certificate_authority() = default;

certificate certificate_authority::issue(const std::string& common_name, const std::string& alt_names, bool expired) const {
    key_ptr key(EVP_EC_gen("P-256"));
    require(key != nullptr, "key");
    const auto cert = make(common_name, key.get(), self_->cert.get(), self_->key.get(), alt_names, expired);
    bio_ptr bio(BIO_new(BIO_s_mem()));
    require(PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1, "write key");
    return {pem(cert.get()), text_of(bio.get())};
}

}  // namespace callgate::test
