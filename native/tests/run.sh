#!/bin/sh
# Builds the library with this machine's compiler and tests it: plain, under ASan and UBSan, under TSan.
# CC selects the compiler. Needs no network and leaves nothing behind. RUN names an emulator for the programs of a cross
# compiler; then only the plain tests run, without sanitizers.
set -eu
cd "$(dirname "$0")"
cc=${CC:-cc}
run=${RUN:-}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
flags="-std=c11 -O2 -g -fPIC -Wall -Wextra -Wpedantic -Wconversion -Werror -fvisibility=hidden"
tests="-D_GNU_SOURCE -std=gnu11 -O1 -g -pthread -Wall -Wextra"
if [ -n "$run" ]; then tests="$tests -DEMULATED=1"; fi
library=../library.c

# One command per line: `set -e` ignores a failure on the left of &&, and a test that was not built would pass.
build() { name=$1; shift; $cc $tests "$@" -lm -ldl -o "$out/$name"; }

# Linked to the shared library: a program itself cannot be kept loaded, as the process's own callbacks require.
build_hooks() { # flags …
  $cc $tests "$@" -fPIC -shared $library -o "$out/hooks.so"
  build hooks "$@" test_hooks.c "$out/hooks.so"
}

$cc $flags -shared $library -o "$out/libbump.so"
foreign=$(nm -D --defined-only "$out/libbump.so" | awk '$3 !~ /^bump_/ { print $3 }')
if [ -n "$foreign" ]; then echo "exported without the prefix: $foreign"; exit 1; fi

build offset test_offset.c
$run "$out/offset"
build bump test_bump.c $library
$run "$out/bump"
build life test_life.c $library
$run "$out/life"
build threads test_threads.c $library
$run "$out/threads"
build stress test_stress.c stress.c $library
$run "$out/stress"
build unload test_unload.c
$run "$out/unload" "$out/libbump.so"
build thread_end test_thread_end.c
$run "$out/thread_end" "$out/libbump.so"
build_hooks
$run "$out/hooks" "$out/libbump.so"

# What Linux preloads; with its options, each in a process of its own, where neither an emulator nor TSan makes that slow.
linux=$(uname -s)
test_preload() { # flags …
  if [ "$linux" != Linux ]; then return; fi
  build preload "$@" test_preload.c preload_inside.c
  $run "$out/preload"
}
test_options() {
  if [ "$linux" != Linux ]; then return; fi
  "$out/preload" BUMP_PRELOAD_RECYCLE=0
  for grow in 1 0; do
    for on in 1 0; do
      "$out/preload" BUMP_PRELOAD_SIZE=16000000 BUMP_PRELOAD_GROW=$grow BUMP_PRELOAD_RECYCLE=$on BUMP_PRELOAD_HUGE_PAGES=$on
    done
  done
}
test_preload

if [ -n "$run" ]; then echo "all passed"; exit; fi

test_options
if [ "$linux" = Linux ]; then # a sanitizer needs the addresses itself
  "$out/preload" VAST=1 BUMP_PRELOAD_SIZE=17592186044416
  "$out/preload" LIMITED=1
fi

echo "ASan and UBSan"
asan="-fsanitize=address,undefined -fno-sanitize-recover=all"
build offset $asan test_offset.c
"$out/offset"
build bump $asan test_bump.c $library
ASAN_OPTIONS=allow_user_segv_handler=1 "$out/bump"
build life $asan test_life.c $library
ASAN_OPTIONS=allow_user_segv_handler=1 "$out/life"
build threads $asan test_threads.c $library
"$out/threads"
build_hooks $asan
"$out/hooks"
test_preload $asan
test_options

echo "TSan"
# bump_attach reads from any address, racing with writers; it takes its hold atomically after that.
echo "race:through_pipe" > "$out/tsan"
build threads -fsanitize=thread test_threads.c $library
# The longest history: without it the stack that the suppression names may be lost on a busy machine.
TSAN_OPTIONS="history_size=7 halt_on_error=1 suppressions=$out/tsan" "$out/threads"
build stress -fsanitize=thread test_stress.c stress.c $library
TSAN_OPTIONS="history_size=7 halt_on_error=1 suppressions=$out/tsan" "$out/stress"
build_hooks -fsanitize=thread
TSAN_OPTIONS="history_size=7 halt_on_error=1" "$out/hooks"
(export TSAN_OPTIONS="history_size=7 halt_on_error=1"; test_preload -fsanitize=thread -DFORKLESS=1)

# gcc has no libFuzzer, so this uses clang, whatever CC is.
fuzzer=
for clang in "$cc" clang-19 clang; do
  echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d == 0 && n != 0; }' > "$out/probe.c"
  if $clang -fsanitize=fuzzer "$out/probe.c" -o "$out/fuzzer" 2> /dev/null; then fuzzer=$clang; break; fi
done
if [ -n "$fuzzer" ]; then
  echo "libFuzzer ($fuzzer)"
  cc=$fuzzer
  build fuzzer -DFUZZ -fsanitize=fuzzer,undefined -fno-sanitize-recover=all test_offset.c
  (cd "$out" && ./fuzzer -max_total_time=8 -max_len=64 -verbosity=0 -print_final_stats=1)
elif [ -n "${REQUIRE_FUZZER:-}" ]; then
  echo "no libFuzzer here: install clang-19 and libclang-rt-19-dev"
  exit 1
else
  echo "no libFuzzer here (clang-19, libclang-rt-19-dev): the arithmetic had the random loop only"
fi
echo "all passed"
