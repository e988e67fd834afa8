package percpu

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// Commits with their marks: as the assembly has them, without anything in front, and a store of 32
// bits.
var (
	goodCommits = [][]byte{
		slices.Concat(mark(0xf900014d), markCommit), // STR X13, [X10]
		slices.Concat(mark(0xf900014d), mark(returnToLR), markCommit),
		slices.Concat(mark(0xc89ffd4b), mark(returnToLR), markCommit), // STLR X11, [X10]
	}
	emptyCommit = markCommit
	badCommit   = slices.Concat(mark(0xb900014d), markCommit)
)

// TestOptIn: the rseq engine runs only where it is asked for, and the reason tells how.
func TestOptIn(t *testing.T) {
	for _, forced := range []string{"", "sheaf"} {
		if e, why := choose(forced); e.name != "trylock" || why != errOptIn.Error() {
			t.Errorf("%q gives %s (%s)", forced, e.name, why)
		}
	}
	if e, why := choose("rseq"); e.name != "rseq" && why == errOptIn.Error() {
		t.Errorf("forced rseq gives %s (%s)", e.name, why)
	}
}

// TestSequenceAccesses reads the instructions of each sequence: those that a restart could not
// repeat, and stores in front of the commit. One store there is a push's, to the array.
func TestSequenceAccesses(t *testing.T) {
	for i, s := range codes().sequences() {
		d, err := findDescriptor(s.code)
		if err != nil {
			t.Fatal(err)
		}
		code := mem.Bytes(uintptr(d.start), uintptr(d.length))
		acquires, stores := 0, 0
		for at := 0; at < len(code)-4; at += 4 {
			w := binary.LittleEndian.Uint32(code[at:])
			switch {
			case w&0xfffffc00 == 0xc8dffc00: // LDAR of 64 bits
				acquires++
			case w&0xffe0fc00 == 0xf8207800: // STR to a base and an index
				stores++
			case w>>25&5 == 4 && !isLoad(w), w&0x7c000000 == 0x14000000 && w>>31 == 1, w>>24 == 0xd4, w&0xfe000000 == 0xd6000000:
				t.Errorf("sequence %d: instruction %#08x at +%d", i, w, at)
			}
		}
		if stores > 1 || acquires > 1 {
			t.Errorf("sequence %d: %d stores in front of the commit, %d acquires", i, stores, acquires)
		}
		if none := s.descriptor == &enterReadersCS || s.descriptor == &exitReadersCS || s.descriptor == &spinCS; none != (acquires == 0) {
			t.Errorf("sequence %d: %d acquires", i, acquires)
		}
	}
}

// isLoad reports whether an instruction of the group of loads and stores is one of the loads that
// sequences use.
func isLoad(w uint32) bool {
	switch {
	// Of one register: offset, index, small offset.
	case w&0x3f000000 == 0x39000000, w&0x3f200c00 == 0x38200800, w&0x3f200000 == 0x38000000:
		return w>>22&3 != 0
	case w&0xffc00000 == 0xa9400000: // LDP
		return true
	}
	return false
}
