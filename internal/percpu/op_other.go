//go:build !(linux && (amd64 || arm64))

package percpu

// Without assembly an operation is its slow path: the one that the trylock engine installs or, of a
// PopBySize or FreeByOwner, the user's, which chooses the stack itself.

// Func returns p's slow path.
func (p *Pop) Func() PopFunc { return p.slow }

// Func returns f's slow path.
func (f *Free) Func() FreeFunc { return f.slow }

// Func returns p's slow path.
func (p *PopBySize) Func() SizeFunc { return p.slow }

// Func returns f's slow path.
func (f *FreeByOwner) Func() FreeFunc { return f.slow }

// Func returns p's slow path.
func (p *PopByNode) Func() NodeFunc { return p.slow }

// Func returns p's slow path.
func (p *SliceBySize) Func() SliceFunc { return p.sliceSlow }

// Func returns f's slow path.
func (f *FreeSliceByOwner) Func() FreeSliceFunc { return f.sliceSlow }

func (*SliceBySize) setSlowCode()      {}
func (*FreeSliceByOwner) setSlowCode() {}

func (*Pop) setSlowCode()         {}
func (*PopByNode) setSlowCode()   {}
func (*Free) setSlowCode()        {}
func (*PopBySize) setSlowCode()   {}
func (*FreeByOwner) setSlowCode() {}
