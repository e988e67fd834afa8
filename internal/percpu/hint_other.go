//go:build !amd64

package percpu

func hint() int { return hintP() }
