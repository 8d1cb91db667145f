# What a C or C++ program needs, as a component of its own, so that a wheel carries the module alone.
include(CMakePackageConfigHelpers)

set(TOKENRELAY_TARGETS tokenrelay)
if(TOKENRELAY_SHARED)
  list(APPEND TOKENRELAY_TARGETS tokenrelay_shared)
endif()
install(TARGETS ${TOKENRELAY_TARGETS} EXPORT tokenrelayTargets COMPONENT cpp
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

# The interface; the other headers are the library's own.
foreach(header IN ITEMS cell.hpp clock.hpp error.hpp export.h hazard.hpp receiver.hpp stats.hpp
                        token.hpp tokenrelay.cppm tokenrelay.h tokenrelay.hpp)
  install(FILES src/cpp/tokenrelay/${header} COMPONENT cpp
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tokenrelay)
endforeach()

# --- CMake package ----------------------------------------------------------------------------------
set(TOKENRELAY_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/tokenrelay)
install(EXPORT tokenrelayTargets NAMESPACE tokenrelay:: COMPONENT cpp
        DESTINATION ${TOKENRELAY_CMAKE_DIR})
configure_package_config_file(cmake/tokenrelayConfig.cmake.in tokenrelayConfig.cmake
  INSTALL_DESTINATION ${TOKENRELAY_CMAKE_DIR} PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(tokenrelayConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tokenrelayConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/tokenrelayConfigVersion.cmake
        DESTINATION ${TOKENRELAY_CMAKE_DIR} COMPONENT cpp)

# --- pkg-config file --------------------------------------------------------------------------------
# Paths follow the file, so that the whole prefix can be moved.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
           BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig OUTPUT_VARIABLE to_prefix)
cmake_path(APPEND TOKENRELAY_PC_PREFIX "\${pcfiledir}" ${to_prefix})
cmake_path(APPEND TOKENRELAY_PC_LIBDIR "\${prefix}" ${CMAKE_INSTALL_LIBDIR})
cmake_path(APPEND TOKENRELAY_PC_INCLUDEDIR "\${prefix}" ${CMAKE_INSTALL_INCLUDEDIR})
# What the archive needs besides itself; the shared library names its own needs.
set(TOKENRELAY_PC_PRIVATE "-lstdc++ -lm -pthread")
if(NOT TOKENRELAY_SHARED)
  set(TOKENRELAY_PC_EXTRA " ${TOKENRELAY_PC_PRIVATE}")
endif()
configure_file(cmake/tokenrelay.pc.in tokenrelay.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tokenrelay.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT cpp)
