package slub

// A groupMember is what a Group knows of one of its caches, or of the large objects of one of its
// Buckets. Caches that share their slabs are one member.
type groupMember struct {
	cache    *Cache   // the oldest of those that share slabs when it joined, or nil
	buckets  *Buckets // or nil
	giveBack func() (objects int)
	index    int // in Group.members. Under its mu
}

// admit keeps the group open for a member that is being made, unless the group is closed. Then
// follows join or dismiss. A nil Group has no members.
func (g *Group) admit() (ok bool) {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.joining++
	}
	return !g.closed
}

// dismiss undoes admit.
func (g *Group) dismiss() {
	if g != nil {
		g.mu.Lock()
		g.joining--
		g.mu.Unlock()
	}
}

// join makes m, which is complete and was admitted, a member. From then on rounds ask it.
func (g *Group) join(m *groupMember) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.joining--
	m.index = len(g.members)
	g.members = append(g.members, m)
}

// closedError is the error of a config whose Group is closed.
func (g *Group) closedError(kind, name, config string) error {
	p := configErrors(kind, name, config)
	p.Add("Group", "%q is closed", g.name)
	return p.Err()
}

// leave undoes join. A round that is under way may still call giveBack.
func (g *Group) leave(m *groupMember) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	last := len(g.members) - 1
	g.members[m.index] = g.members[last]
	g.members[m.index].index = m.index
	g.members[last] = nil
	g.members = g.members[:last]
}

// eachMember yields the members from the last to the first: leave moves the last one to the place
// of the one that it removes, so that a member may be met twice, but none is left out. No lock is
// held while do runs.
func (g *Group) eachMember(do func(*groupMember) (more bool)) {
	for i := g.memberCount() - 1; ; i-- {
		g.mu.Lock()
		i = min(i, len(g.members)-1)
		if i < 0 {
			g.mu.Unlock()
			return
		}
		m := g.members[i]
		g.mu.Unlock()
		if !do(m) {
			return
		}
	}
}

func (g *Group) memberCount() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// name returns the member's name, for the error of Close.
func (m *groupMember) name() string {
	if m.buckets != nil {
		return m.buckets.Name()
	}
	return m.cache.primary().name
}

// admitAccount keeps the group open for an Account, unless the group is closed. A nil Group has no
// Accounts.
func (g *Group) admitAccount() (ok bool) {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.accounts++
	}
	return !g.closed
}

// dismissAccount undoes admitAccount, when nothing is charged to the Account any more.
func (g *Group) dismissAccount() {
	if g != nil {
		g.mu.Lock()
		g.accounts--
		g.mu.Unlock()
	}
}

func (g *Group) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}
