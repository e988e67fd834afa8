package slub

import (
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub/internal/slab"
)

// freePtrSize is the size of a free object's link in bytes.
const freePtrSize = slab.FreePtrSize

// A layout says where things lie in an object's slot, in bytes.
type layout struct {
	size  uintptr // of the object
	slot  uintptr // from one object to the next
	align uintptr
	fp    uintptr // offset of the free pointer; at least size if it lies outside the object
}

// align returns the alignment of objects.
func (c Config) align() uintptr {
	align := uintptr(max(8, c.Align))
	if c.Flags&HWCacheAlign != 0 {
		// Small objects share a line (kernel: calculate_alignment).
		line := uintptr(mem.CacheLine)
		for uintptr(c.Size) <= line/2 {
			line /= 2
		}
		align = max(align, line)
	}
	return align
}

// layout computes an object's slot (kernel: calculate_sizes). In a debug cache that keeps something
// beside the object, the free pointer lies there, too: all of a free object can be poison.
func (c Config) layout() layout {
	l := layout{size: uintptr(c.Size), align: c.align()}
	if d := c.debugLayout(c.debugFlags()); d.Extends() {
		l.fp, l.slot = d.Inuse, d.Slot
		return l
	}
	end := mem.AlignUp(l.size, freePtrSize)
	switch {
	case c.FreePtrOffset.set:
		l.fp = c.FreePtrOffset.n
	case c.Ctor != nil || c.Flags&TypesafeByRCU != 0:
		l.fp = end
		end += freePtrSize
	default:
		l.fp = mem.AlignDown(l.size/2, freePtrSize)
	}
	l.slot = mem.AlignUp(end, l.align)
	return l
}

// written returns how many bytes from the object's start on its user or its link may write to: a
// link that begins inside may reach beyond the object.
func (l layout) written() uintptr {
	if l.fpInside() {
		return max(l.size, l.fp+freePtrSize)
	}
	return l.size
}

// fpInside reports whether the free pointer overwrites part of the object.
func (l layout) fpInside() bool { return l.fp < l.size }
