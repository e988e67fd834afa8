//go:build asan

package sys

// #include <stddef.h>
// void __asan_poison_memory_region(void const volatile *addr, size_t size);
// void __asan_unpoison_memory_region(void const volatile *addr, size_t size);
//
// static void slubd_poison(size_t addr, size_t n) {
// 	__asan_poison_memory_region((void *)addr, n);
// }
// static void slubd_unpoison(size_t addr, size_t n) {
// 	__asan_unpoison_memory_region((void *)addr, n);
// }
import "C"

// Poison makes the address sanitizer report every access to the n bytes at addr until Unpoison,
// except up to 7 bytes at the end: the sanitizer marks only whole words and the first bytes of
// words. addr is a multiple of 8.
func Poison(addr, n uintptr) { C.slubd_poison(C.size_t(addr), C.size_t(n)) }

// Unpoison undoes Poison.
func Unpoison(addr, n uintptr) { C.slubd_unpoison(C.size_t(addr), C.size_t(n)) }
