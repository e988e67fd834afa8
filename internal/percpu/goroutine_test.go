//go:build amd64 || arm64

package percpu

import (
	"testing"
	"unsafe"
)

// What a goroutine has on its stack is found there, also after the stack has moved, and nothing
// else.
func TestOnStack(t *testing.T) {
	if _, known := OnStack(0); !known {
		t.Fatal("the bounds of the stack are not known")
	}
	heap = new([128]byte)
	checkOnStack(t, 0)
	checkOnStack(t, 200)
	if foundByAnother() {
		t.Error("another goroutine's stack is this one's")
	}
}

// checkOnStack looks for a local variable in each of depth+1 frames. With -asan, and where pointers
// are checked, the compiler would move that variable to the heap. The stack may move between the
// conversion and the call, to grow or because a collection makes it smaller.
//
//go:nocheckptr
func checkOnStack(t *testing.T, depth int) {
	var local [256]byte
	found := false
	for try := 0; try < 100 && !found; try++ {
		found, _ = OnStack(uintptr(unsafe.Pointer(&local)))
	}
	if !found {
		t.Errorf("depth %d: a local variable is not on the stack", depth)
	}
	for name, addr := range map[string]uintptr{"heap": uintptr(unsafe.Pointer(heap)), "global": uintptr(unsafe.Pointer(&global)), "nil": 0} {
		if on, _ := OnStack(addr); on {
			t.Errorf("depth %d: %s is on the stack", depth, name)
		}
	}
	if depth > 0 {
		checkOnStack(t, depth-1)
	}
}

// foundByAnother reports whether another goroutine takes a local variable for its own.
//
//go:nocheckptr
func foundByAnother() bool {
	var local [8]byte
	addr := uintptr(unsafe.Pointer(&local))
	done := make(chan bool)
	go func() {
		on, _ := OnStack(addr)
		done <- on
	}()
	return <-done
}

var (
	global [8]byte
	heap   *[128]byte // what it points to is on the heap
)
