package percpu

import (
	"fmt"
	"testing"

	"github.com/klauspost/cpuid/v2"
)

// eachWidth runs a test as on processors with registers of 16, of 32 and of 64 bytes, as far as
// this one has them.
func eachWidth(t *testing.T, test func(t *testing.T)) {
	defer func(avx, avx512 bool) { hasAVX, hasAVX512 = avx, avx512 }(hasAVX, hasAVX512)
	for bytes, has := range map[int]struct{ avx, avx512 bool }{
		16: {}, 32: {avx: true}, 64: {avx: true, avx512: true},
	} {
		if has.avx && !cpuid.CPU.Supports(cpuid.AVX) || has.avx512 && !supports512() {
			continue
		}
		hasAVX, hasAVX512 = has.avx, has.avx512
		t.Run(fmt.Sprintf("%d bytes", bytes), test)
	}
}

// TestZeroOfEachWidth is TestZero with each kind of registers.
func TestZeroOfEachWidth(t *testing.T) {
	eachEngine(t, func(t *testing.T) { eachWidth(t, zeroAll) })
}

// TestMarkedOfEachWidth is TestMarked with each kind of registers.
func TestMarkedOfEachWidth(t *testing.T) {
	eachMarkedEngine(t, func(t *testing.T) { eachWidth(t, markedAll) })
}
