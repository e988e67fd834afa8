package debug

import "strings"

// Flags say what a debug cache does. 0 is no debug cache.
type Flags uint8

// The flags, with the letters of the grammar.
const (
	Consistency Flags = 1 << iota // F: every allocation and free checks the object
	RedZone                       // Z: bytes beside the object are checked
	Poison                        // P: the bytes of a free object are checked, and padding
	Users                         // U: the calls that allocated and freed the object are kept
	Trace                         // T: every allocation and free is printed
	Failslab                      // A: allocations may be made to fail
	Quarantine                    // Q: what is freed waits before its memory serves again

	// Hidden has no letter. The slot has room for RedZone, whose bytes are neither written nor
	// looked at: the address sanitizer reports each access to them.
	Hidden
)

// Default is what a block of the grammar without letters stands for.
const Default = Consistency | RedZone | Poison | Users

// letters has the letter of each flag, by its bit.
const letters = "FZPUTAQ"

// Has reports whether all flags of other are set.
func (f Flags) Has(other Flags) bool { return f&other == other }

// String returns the letters, or "-" for none.
func (f Flags) String() string {
	var b strings.Builder
	for i, letter := range letters {
		if f&(1<<i) != 0 {
			b.WriteRune(letter)
		}
	}
	if b.Len() == 0 {
		return "-"
	}
	return b.String()
}

// flagOf returns the flag of a letter, of either case, or 0.
func flagOf(letter rune) Flags {
	i := strings.IndexRune(letters, letter&^0x20)
	if i < 0 {
		return 0
	}
	return 1 << i
}
