raise ImportError('the real one needs much')
