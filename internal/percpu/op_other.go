//go:build !(linux && amd64)

package percpu

// Without assembly an operation is its slow path: what the trylock engine put in its place,
// or a user's that chooses among stacks for itself.

// Func returns p's slow path.
func (p *Pop) Func() PopFunc { return p.slow }

// Func returns f's slow path.
func (f *Free) Func() FreeFunc { return f.slow }

// Func returns p's slow path.
func (p *PopBySize) Func() SizeFunc { return p.slow }

// Func returns f's slow path.
func (f *FreeByOwner) Func() FreeFunc { return f.slow }

func (*Pop) pass()         {}
func (*Free) pass()        {}
func (*PopBySize) pass()   {}
func (*FreeByOwner) pass() {}
