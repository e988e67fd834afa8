// Package debug has what a debug cache does to an object's memory: where its red zones, tracks and
// padding lie, what is written there when the object is allocated and freed, and what of it is
// overwritten. It also has the grammar that names the caches (kernel: the debug part of mm/slub.c,
// slab_debug=).
//
// # Place in the data flow
//
//	SLUBD_DEBUG, Config.Debug -> [Parse] -> Rules.For(name) -> Flags -> [NewLayout] -> Layout
//	slub: new slab, Alloc, Free, Validate, Close -> [Layout.Free, Begin, Check, Repair]
//	what Check finds -> [Bug.Text] -> hooks.Report
//
// A Layout is constant, and its methods are functions over memory: they know no cache and no slab.
//
// # A slot
//
//	left red zone | object | right red zone | link | tracks | request | padding
//	Left            Size     to Inuse         8      2 x 16   8         to the slot's end
//
// The object starts Left bytes into its slot. Every offset in a Layout counts from the object, so
// the left red zone has negative ones. It is aligned like the object, and lies at least a word in
// front of it. Where the object ends with a word, the right red zone has a word of its own.
//
// The link is that of the slab's chain. The tracks say which call allocated the object last, and
// which freed it. The request is how many bytes of the object its user has asked for: with RedZone
// the others belong to the right red zone. Each word of these has check bits, and with RedZone is
// looked at, too: it lies where an overrun may end that leaves the red zone out. A large object is
// in no chain: see WithoutLink.
//
//	bytes                 in use   free
//	red zones             0xcc     0xbb
//	object                any      0x6b, and 0xa5 at its end; any if a constructor prepared it
//	padding               0x5a     0x5a
//
// # Locks
//
// None. The caller makes sure that nothing else writes to what it passes, except the user of an
// object in use to that object.
//
// # Not allowed
//
// The package must not write to the bytes of an object in use, nor to the link of a free one.
package debug
