package hooks

import "github.com/slubd/slubd/internal/mem"

// freePtrSize is the length of a free pointer inside a free object, in bytes.
const freePtrSize = 8

// Wipe zeroes the size bytes at addr, the init-on-free of an object that is
// not on a slab's freelist. The caller owns the object.
func Wipe(addr, size uintptr) { mem.Zero(addr, size) }

// WipeAround zeroes the size bytes at addr except the free pointer, the 8
// bytes at addr+fpOffset, so that an object can be wiped without breaking the
// chain it is part of. A free pointer outside the object leaves all to wipe.
func WipeAround(addr, size, fpOffset uintptr) {
	mem.Zero(addr, min(fpOffset, size))
	if after := fpOffset + freePtrSize; after < size {
		mem.Zero(addr+after, size-after)
	}
}
