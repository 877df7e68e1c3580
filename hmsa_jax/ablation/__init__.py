"""The paper's tables in miniature: which networks they compare, what each costs, what they show."""
