//go:build !(linux && amd64)

package percpu

// Func returns the slow path, which chooses for itself.
func (p *PopBySize) Func() SizeFunc { return p.slow }

// Func returns the slow path, which chooses for itself.
func (f *FreeByOwner) Func() FreeFunc { return f.slow }

func (*PopBySize) pass()   {}
func (*FreeByOwner) pass() {}
