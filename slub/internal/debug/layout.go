package debug

import "github.com/slubd/slubd/internal/mem"

// word is the unit in which a slot is divided, and the size of its link.
const word = 8

// A Layout says where things lie in a slot, in bytes from the start of the object. See the package
// comment.
type Layout struct {
	Flags Flags
	Size  uintptr // of the object
	Left  uintptr // of the red zone in front of the object; 0 without RedZone or Hidden
	Inuse uintptr // end of the right red zone, where the link lies (kernel: inuse)
	Slot  uintptr // from one object to the next

	users   uintptr // where the tracks lie; 0 without Users
	request uintptr // where the request lies; 0 without RedZone
	padding uintptr // where the padding begins; it ends where the next left red zone begins
	keeps   bool    // a free object keeps its content
}

// NewLayout lays out slots for objects of the given size and alignment, a power of two of at least
// 8. keeps says that a free object keeps its content, which a constructor prepared or a reader may
// read: it is not poisoned then.
func NewLayout(f Flags, size, align uintptr, keeps bool) Layout {
	l := Layout{Flags: f, Size: size, keeps: keeps}
	l.Inuse = mem.AlignUp(size, word)
	if f&(RedZone|Hidden) != 0 {
		l.Left = mem.AlignUp(word, align)
		if l.Inuse == size {
			l.Inuse += word
		}
	}
	end := l.Inuse + word // behind the link
	if f.Has(Users) {
		l.users = end
		end += 2 * trackSize
	}
	if f.Has(RedZone) {
		l.request = end
		end += 2 * word // a word of padding in any case: an overrun from the left shows there
	}
	l.padding = end
	if f.Has(RedZone) {
		l.padding -= word
	}
	l.Slot = mem.AlignUp(l.Left+end, align)
	return l
}

// WithoutLink returns the layout of objects that are in no chain: the red zone, or what is padding
// without one, has the word of the link.
func (l Layout) WithoutLink() Layout {
	l.Inuse += word
	return l
}

// Extends reports whether the slots have more than objects and links: whether the cache uses Slot,
// Left and Inuse.
func (l *Layout) Extends() bool { return l.Flags&(RedZone|Poison|Users|Hidden) != 0 }

// A span is a part of a slot, and the byte that all of it should have.
type span struct {
	name     string
	from, to uintptr // offsets from the object
	want     byte
}

// The bytes of a slot, as the kernel has them (include/linux/poison.h).
const (
	redFree  = 0xbb // red zone of a free object
	redInUse = 0xcc // red zone of an object in use
	poisoned = 0x6b // free object
	poisonAt = 0xa5 // its last byte
	unused   = 0x5a // padding
)

// spans returns the parts that have a certain content while the object is in use or free. request
// is how many of its bytes belong to the user. Without Poison padding is not looked at.
func (l *Layout) spans(inUse bool, request uintptr) (spans [6]span) {
	n := 0
	add := func(name string, from, to uintptr, want byte) {
		if from != to {
			spans[n] = span{name, from, to, want}
			n++
		}
	}
	if l.Flags.Has(RedZone) {
		red := byte(redFree)
		if inUse {
			red = redInUse
			add("kmalloc Redzone", request, l.Size, red)
		}
		add("Left Redzone", -l.Left, 0, red)
		add("Right Redzone", l.Size, l.Inuse, red)
	}
	if !l.Flags.Has(Poison) {
		return spans
	}
	if !inUse && !l.keeps {
		add("Poison", 0, l.Size-1, poisoned)
		add("End Poison", l.Size-1, l.Size, poisonAt)
	}
	if !l.Flags.Has(RedZone) {
		add("Alignment padding", l.Size, l.Inuse, unused)
	}
	add("Object padding", l.padding, l.Slot-l.Left, unused)
	return spans
}
