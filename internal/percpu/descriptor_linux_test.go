//go:build amd64 || arm64

package percpu

import (
	"slices"
	"testing"
	"unsafe"
)

// TestDescriptors reads the real sequences, and code in which a mark is missing, doubled, out of
// place, or not directly behind the commit.
func TestDescriptors(t *testing.T) {
	for i, s := range codes().sequences() {
		d, err := findDescriptor(s.code)
		if err != nil {
			t.Fatal(err)
		}
		if d.start <= uint64(s.code) || d.length < 20 || d.abort <= d.start+d.length || d.abort > uint64(s.code)+maxCode {
			t.Errorf("sequence %d at %#x: %+v", i, s.code, d)
		}
	}
	pad, commit := make([]byte, 8), goodCommits[0]
	bad := map[string][]byte{
		"no end":           slices.Concat(markArm, pad, commit, pad, markAbort),
		"no arming":        slices.Concat(pad, commit, pad, markAbort, markEnd),
		"no commit":        slices.Concat(markArm, pad, markAbort, pad, markEnd),
		"no abort":         slices.Concat(markArm, pad, commit, pad, markEnd),
		"two commits":      slices.Concat(markArm, pad, commit, pad, commit, pad, markAbort, markEnd),
		"abort in between": slices.Concat(markArm, pad, markAbort, pad, commit, markEnd),
		"commit first":     slices.Concat(pad, commit, markArm, pad, markAbort, markEnd),
		"nothing to do":    slices.Concat(markArm, emptyCommit, pad, markAbort, markEnd),
		"another opcode":   slices.Concat(markArm, pad, badCommit, pad, markAbort, markEnd),
	}
	for _, commit := range goodCommits {
		if _, err := findDescriptor(code(slices.Concat(markArm, pad, commit, pad, markAbort, pad, markEnd))); err != nil {
			t.Errorf("good code: %v", err)
		}
	}
	for name, text := range bad {
		if s, err := findDescriptor(code(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, s)
		}
	}
}

// code returns the address of the bytes, behind which findDescriptor may read up to maxCode.
func code(text []byte) uintptr {
	buf := make([]byte, maxCode+len(text))
	copy(buf, text)
	return uintptr(unsafe.Pointer(&buf[0]))
}
