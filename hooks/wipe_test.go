package hooks

import (
	"bytes"
	"runtime"
	"testing"
	"unsafe"
)

// wiped runs f on the address of an object of dirty bytes between two guards
// and returns what became of the three.
func wiped(size uintptr, f func(addr uintptr)) (object []byte, guardsIntact bool) {
	const guard = 16
	buf := bytes.Repeat([]byte{0xa5}, int(size)+2*guard)
	f(uintptr(unsafe.Pointer(&buf[guard])))
	runtime.KeepAlive(buf)
	intact := bytes.Repeat([]byte{0xa5}, guard)
	end := guard + int(size)
	return buf[guard:end], bytes.Equal(buf[:guard], intact) && bytes.Equal(buf[end:], intact)
}

func TestWipeClearsTheObjectOnly(t *testing.T) {
	for _, size := range []uintptr{0, 1, 8, 64, 4096} {
		object, ok := wiped(size, func(addr uintptr) { Wipe(addr, size) })
		if !ok || !bytes.Equal(object, make([]byte, size)) {
			t.Errorf("size %d: %x, guards intact: %v", size, object, ok)
		}
	}
}

func TestWipeAroundLeavesTheFreePointer(t *testing.T) {
	for _, c := range []struct{ size, fp uintptr }{
		{8, 0}, {64, 0}, {64, 24}, {64, 56}, // inside: first, middle, last
		{60, 56},           // across the end
		{64, 64}, {64, 72}, // outside
	} {
		object, ok := wiped(c.size, func(addr uintptr) { WipeAround(addr, c.size, c.fp) })
		want := make([]byte, c.size)
		for i := c.fp; i < min(c.fp+8, c.size); i++ {
			want[i] = 0xa5
		}
		if !ok || !bytes.Equal(object, want) {
			t.Errorf("size %d, free pointer at %d: %x, guards intact: %v", c.size, c.fp, object, ok)
		}
	}
}
