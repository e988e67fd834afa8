package mem

import (
	"testing"
	"unsafe"
)

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		n    uintptr
		want int
	}{
		{n: 0, want: 0},
		{n: 1, want: 0},
		{n: PageSize, want: 0},
		{n: PageSize + 1, want: 1},
		{n: 2 * PageSize, want: 1},
		{n: 2*PageSize + 1, want: 2},
		{n: 1 << 22, want: 10},
	} {
		if got := Order(c.n); got != c.want {
			t.Errorf("Order(%d) = %d, want %d", c.n, got, c.want)
		}
	}
}

func TestAlign(t *testing.T) {
	if AlignUp(65, 64) != 128 || AlignUp(64, 64) != 64 || AlignDown(127, 64) != 64 {
		t.Error("AlignUp or AlignDown is wrong")
	}
	if IsPow2(0) || !IsPow2(1) || IsPow2(96) {
		t.Error("IsPow2 is wrong")
	}
}

func TestViews(t *testing.T) {
	var word uint64 = 0x0102030405060708
	addr := uintptr(unsafe.Pointer(&word))
	if Ptr(addr) != unsafe.Pointer(&word) || *At[uint64](addr) != word || len(Bytes(addr, 8)) != 8 {
		t.Error("Ptr, At or Bytes differs from the word")
	}
	if Zero(addr, 4); word>>32 == 0 || word&0xffffffff != 0 {
		t.Errorf("Zero cleared %#x", word)
	}
}
