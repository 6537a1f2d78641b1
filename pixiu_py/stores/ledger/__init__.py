"""The books: what each request used and cost, and the tariffs that it was priced by."""
