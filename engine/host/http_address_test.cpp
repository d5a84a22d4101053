// SPDX-License-Identifier: Apache-2.0
#include "engine/host/http_address.hpp"

#include <gtest/gtest.h>

namespace callgate::host {
namespace {

TEST(cidr, contains_what_its_bits_say) {
    const auto c = cidr::parse("10.1.0.0/20");
    ASSERT_TRUE(c);
    EXPECT_TRUE(c->contains(*ip_from("10.1.15.255")));
    EXPECT_FALSE(c->contains(*ip_from("10.1.16.0")));
    EXPECT_FALSE(c->contains(*ip_from("::1")));
    EXPECT_TRUE(cidr::parse("2001:db8::/33")->contains(*ip_from("2001:db8:7fff::1")));
    EXPECT_FALSE(cidr::parse("2001:db8::/33")->contains(*ip_from("2001:db8:8000::1")));
    EXPECT_TRUE(cidr::parse("0.0.0.0/0")->contains(*ip_from("8.8.8.8")));
    EXPECT_FALSE(cidr::parse("0.0.0.0/0")->contains(*ip_from("2001:db8::1")));
    EXPECT_TRUE(cidr::parse("192.0.2.7")->contains(*ip_from("192.0.2.7")));
    EXPECT_FALSE(cidr::parse("192.0.2.7")->contains(*ip_from("192.0.2.6")));
}

TEST(cidr, refuses_what_is_none) {
    for (const char* bad : {"", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0/8", "::/129", "example.org/8", "10.0.0.0/8x"})
        EXPECT_FALSE(cidr::parse(bad)) << bad;
}

TEST(address_policy, refuses_link_local_and_metadata_addresses_however_they_are_written) {
    const address_policy p;
    for (const char* bad : {"169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "fe80::1", "febf::1", "fd00:ec2::254",
                            "100.100.100.200", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"})
        EXPECT_NE(refuse_address(p, *ip_from(bad)), nullptr) << bad;
    for (const char* good : {"169.253.0.1", "192.0.2.1", "10.0.0.1", "127.0.0.1", "2001:db8::1", "fec0::1"})
        EXPECT_EQ(refuse_address(p, *ip_from(good)), nullptr) << good;
    address_policy open;
    open.allow_private = true;
    EXPECT_EQ(refuse_address(open, *ip_from("169.254.169.254")), nullptr);
    EXPECT_NE(refuse_address(open, *ip_from("0.0.0.0")), nullptr);
}

TEST(address_policy, plaintext_goes_to_loopback_only_unless_allowed) {
    address_policy p;
    p.plaintext = true;
    EXPECT_EQ(refuse_address(p, *ip_from("127.8.9.1")), nullptr);
    EXPECT_EQ(refuse_address(p, *ip_from("::1")), nullptr);
    EXPECT_NE(refuse_address(p, *ip_from("192.0.2.1")), nullptr);
    p.allow_plaintext = true;
    EXPECT_EQ(refuse_address(p, *ip_from("192.0.2.1")), nullptr);
}

TEST(address_policy, pins_hold_for_every_address) {
    address_policy p;
    p.pins = {*cidr::parse("10.0.0.0/8"), *cidr::parse("2001:db8::/32")};
    EXPECT_EQ(refuse_address(p, *ip_from("10.255.0.1")), nullptr);
    EXPECT_EQ(refuse_address(p, *ip_from("2001:db8::1")), nullptr);
    EXPECT_NE(refuse_address(p, *ip_from("127.0.0.1")), nullptr);
}

}  // namespace
}  // namespace callgate::host
