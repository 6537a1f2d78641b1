module pixiu-py-bench

go 1.19
