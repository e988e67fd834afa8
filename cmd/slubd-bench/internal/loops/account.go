package loops

import "github.com/slubd/slubd/slub"

// buckets is slubd in workload buckets: slub.Malloc and slub.Free.
type buckets struct {
	noBackground
	size int
}

func (b buckets) worker(int, *shared) (worker, error) { return worker{loop: b.pairs}, nil }

func (b buckets) pairs(n int) error {
	size := b.size
	for i := range n {
		p, err := slub.Malloc(size)
		if err != nil {
			return err
		}
		touch(p, i)
		slub.Free(p)
	}
	return nil
}

// accounts is slubd in workload account: the same pairs, by an Account that each thread has.
type accounts struct {
	noBackground
	size int
}

func (a accounts) worker(int, *shared) (worker, error) {
	account, err := slub.NewAccount(slub.AccountConfig{Name: "bench-account"})
	if err != nil {
		return worker{}, err
	}
	t := accountThread{size: a.size, account: account}
	return worker{loop: t.pairs, stop: account.Close}, nil
}

// accountThread is one thread with its Account.
type accountThread struct {
	size    int
	account *slub.Account
}

func (t accountThread) pairs(n int) error {
	size, account := t.size, t.account
	for i := range n {
		p, err := account.Malloc(size)
		if err != nil {
			return err
		}
		touch(p, i)
		account.Free(p)
	}
	return nil
}
