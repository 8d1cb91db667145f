# tokenrelay_simdjson: what the tests read their vectors with, and compare the library's own reader of
# JSON with. A system library first, else the source that the pysimdjson wheel carries.
find_package(simdjson 3.2 QUIET)
if(simdjson_FOUND)
  add_library(tokenrelay_simdjson INTERFACE)
  target_link_libraries(tokenrelay_simdjson INTERFACE simdjson::simdjson)
  return()
endif()
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter)
execute_process(
  COMMAND ${Python_EXECUTABLE} -c
          "import importlib.util as u; print(u.find_spec('simdjson').submodule_search_locations[0])"
  OUTPUT_VARIABLE SIMDJSON_SOURCE OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE SIMDJSON_MISSING ERROR_QUIET)
if(SIMDJSON_MISSING OR NOT EXISTS "${SIMDJSON_SOURCE}/simdjson.cpp")
  message(FATAL_ERROR "The tests need simdjson. Install it (Debian: libsimdjson-dev), or its source "
                      "with: ${Python_EXECUTABLE} -m pip install pysimdjson")
endif()
add_library(tokenrelay_simdjson STATIC "${SIMDJSON_SOURCE}/simdjson.cpp")
target_include_directories(tokenrelay_simdjson SYSTEM PUBLIC "${SIMDJSON_SOURCE}")
target_compile_features(tokenrelay_simdjson PUBLIC cxx_std_20)
target_compile_options(tokenrelay_simdjson PRIVATE -w)
