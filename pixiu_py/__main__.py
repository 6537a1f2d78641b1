from pixiu_py.cli import main

raise SystemExit(main())
