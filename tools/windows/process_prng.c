/* process_prng.c - bcryptprimitives.dll, which wine 8 lacks, with the one function that Deno imports. */
__declspec(dllimport) unsigned char SystemFunction036(void *, unsigned long); /* RtlGenRandom, of advapi32 */

enum { PART = 1 << 20 };

__declspec(dllexport) int ProcessPrng(unsigned char *bytes, unsigned long long size) {
  for (unsigned long long at = 0; at < size; at += PART) {
    const unsigned long part = size - at < PART ? (unsigned long)(size - at) : PART;
    if (!SystemFunction036(bytes + at, part)) return 0;
  }
  return 1;
}

int __stdcall DllMain(void *module, unsigned long reason, void *reserved) {
  (void)module, (void)reason, (void)reserved;
  return 1;
}
