# Counts the instructions of one frame and of one read under callgrind. Fails if they are more than
# TOLERANCE percent above the figures below, which the compiler and the C library move a little.
#   cmake -DVALGRIND=… -DPROGRAM=… -P instructions.cmake
# Counted with g++ 12 -O3 on x86-64 with AVX2 (what valgrind offers). A wiped byte counts as
# one: that is how callgrind sees the string instruction that wipes.
set(TOLERANCE 15)

function(collect what function count result)
  execute_process(
    COMMAND ${VALGRIND} --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no
            --toggle-collect=${function} ${PROGRAM} ${what} ${count}
    ERROR_VARIABLE output RESULT_VARIABLE status)
  if(NOT status EQUAL 0 OR NOT output MATCHES "Collected : ([0-9]+)")
    message(FATAL_ERROR "callgrind failed: ${output}")
  endif()
  set(${result} ${CMAKE_MATCH_1} PARENT_SCOPE)
endfunction()

# The difference of two counts: what the first turns cost more falls out.
function(check what function expected)
  collect(${what} ${function} 1000 few)
  collect(${what} ${function} 2000 many)
  math(EXPR each "(${many} - ${few}) / 1000")
  math(EXPR limit "${expected} * (100 + ${TOLERANCE}) / 100")
  message(STATUS "${what}: ${each} instructions, ${expected} expected, ${limit} allowed")
  if(each GREATER limit)
    message(SEND_ERROR "${what} costs more than it did")
  endif()
endfunction()

check(usual_frame serve_a_frame 1640)
check(other_frame serve_a_frame 3840)
check(current read_with_a_guard 16)
check(reader read_with_a_reader 10)
