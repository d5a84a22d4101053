# SPDX-License-Identifier: Apache-2.0
# The daemon itself: needs every other room.
add_library(callgate_runtime STATIC admin_server.cpp assembly.cpp audit_line.cpp audit_trail.cpp instance_config.cpp plugin_links.cpp serve.cpp shard.cpp status.cpp
            supervisor.cpp supervisor_audit.cpp supervisor_clusters.cpp supervisor_modules.cpp supervisor_status.cpp)
target_link_libraries(callgate_runtime PUBLIC callgate_config callgate_flow callgate_host callgate_net callgate_observe
                      PRIVATE Boost::json fmt::fmt OpenSSL::SSL)
callgate_room_test(NAME engine_runtime SOURCES admin_server_test.cpp assembly_test.cpp instance_config_test.cpp shard_test.cpp
                   ${CMAKE_SOURCE_DIR}/tests/support/nats_server.cpp
                   LIBS callgate_runtime callgate_cnats Boost::json LABELS integration)
# The servers that tools/setup installs; the environment wins (tests/support/nats_server.hpp).
target_compile_definitions(engine_runtime_test PRIVATE CALLGATE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
# A whole daemon needs plugins; their room may be left out when this one is built alone.
if("plugins" IN_LIST CALLGATE_ROOMS)
  target_sources(engine_runtime_test PRIVATE supervisor_modules_test.cpp supervisor_test.cpp)
  target_compile_definitions(engine_runtime_test PRIVATE CALLGATE_PLUGINS="${CALLGATE_PLUGIN_DIR}"
    CALLGATE_TEST_PLUGINS="${CMAKE_BINARY_DIR}/engine/host/test_plugins")
  add_dependencies(engine_runtime_test plugin_audit_file plugin_auth_static plugin_key_file plugin_module_admin host_test_plugin_module)
endif()
