# SPDX-License-Identifier: Apache-2.0
# The daemon itself: needs every other room.
add_library(callgate_runtime STATIC admin_server.cpp assembly.cpp audit_line.cpp serve.cpp shard.cpp status.cpp
            supervisor.cpp supervisor_clusters.cpp supervisor_status.cpp)
target_link_libraries(callgate_runtime PUBLIC callgate_config callgate_flow callgate_host callgate_net callgate_observe
                      PRIVATE Boost::json fmt::fmt OpenSSL::SSL)
callgate_room_test(NAME engine_runtime SOURCES admin_server_test.cpp assembly_test.cpp LIBS callgate_runtime)
