//go:build linux && amd64

package percpu

import (
	"slices"
	"testing"
	"unsafe"
)

// TestSections reads the real sequences and then code in which a mark is missing,
// doubled or out of place.
func TestSections(t *testing.T) {
	for i, pc := range codes().sequences() {
		s, err := findSection(pc)
		if err != nil {
			t.Fatal(err)
		}
		if s.start <= uint64(pc) || s.length < 20 || s.abort <= s.start+s.length || s.abort > uint64(pc)+maxCode {
			t.Errorf("sequence %d at %#x: %+v", i, pc, s)
		}
	}
	pad := make([]byte, 8)
	good := slices.Concat(markArm, pad, []byte{0x41, 0xbb}, markCommit, pad, markAbort, pad, markEnd)
	bad := map[string][]byte{
		"no end":           slices.Concat(markArm, pad, markCommit, pad, markAbort),
		"no arming":        slices.Concat(pad, markCommit, pad, markAbort, markEnd),
		"no commit":        slices.Concat(markArm, pad, markAbort, pad, markEnd),
		"no abort":         slices.Concat(markArm, pad, markCommit, pad, markEnd),
		"two commits":      slices.Concat(markArm, pad, markCommit, pad, markCommit, markAbort, markEnd),
		"abort in between": slices.Concat(markArm, pad, markAbort, pad, markCommit, markEnd),
		"commit first":     slices.Concat(pad, markCommit, markArm, pad, markAbort, markEnd),
	}
	if _, err := findSection(code(good)); err != nil {
		t.Errorf("good code: %v", err)
	}
	for name, text := range bad {
		if s, err := findSection(code(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, s)
		}
	}
}

// code puts bytes where findSection may read maxCode of them.
func code(text []byte) uintptr {
	buf := make([]byte, maxCode+len(text))
	copy(buf, text)
	return uintptr(unsafe.Pointer(&buf[0]))
}
