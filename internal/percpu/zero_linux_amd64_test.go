package percpu

import "testing"

// TestZeroWithoutAVX is TestZero on a processor with registers of 16 bytes only.
func TestZeroWithoutAVX(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		defer func(before bool) { hasAVX = before }(hasAVX)
		hasAVX = false
		zeroAll(t)
	})
}

// TestMarkedWithoutAVX is TestMarked on such a processor.
func TestMarkedWithoutAVX(t *testing.T) {
	eachMarkedEngine(t, func(t *testing.T) {
		defer func(before bool) { hasAVX = before }(hasAVX)
		hasAVX = false
		markedAll(t)
	})
}
